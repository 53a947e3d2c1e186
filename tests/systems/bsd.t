#!/bin/bash
# bsd.t - the branches of asocket.h for FreeBSD, DragonFly, OpenBSD and NetBSD compile without a
# warning, with macOS' headers changed into what asocket.h finds there (tests/darwin/bsd.h): the
# systems' own are not to be had here. Prints TAP; `make test-macos`.
cd "$(dirname "$0")/../.." || exit 1
if ! why=$(tests/systems/zig.sh 2>&1 >/dev/null); then
    echo "1..0 # SKIP $why"
    exit 0
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
strict=(-std=c99 -O1 -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror)
count=0

# compiles DESCRIPTION OPTION...
compiles() {
    description=$1
    shift
    count=$((count + 1))
    if tests/darwin/cc "${strict[@]}" -include tests/darwin/bsd.h "$@" -c -o "$work/o.o" \
        tests/implementation.c >"$work/log" 2>&1; then
        echo "ok $count - $description"
    else
        echo "not ok $count - $description"
        sed 's/^/# /' "$work/log" | head -40
    fi
}

for system in FreeBSD DragonFly OpenBSD NetBSD; do
    compiles "$system" -DAS_${system^^}
    compiles "$system without coroutines and threads" -DAS_${system^^} \
        -DASOCKET_NO_COROUTINES -DASOCKET_NO_THREADS
done
echo "1..$count"
