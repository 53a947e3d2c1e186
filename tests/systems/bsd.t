#!/bin/bash
# bsd.t - the branches of asocket.h for FreeBSD, DragonFly, OpenBSD and NetBSD compile without a
# warning, with macOS' headers changed into what asocket.h finds there (tests/darwin/bsd.h): the
# systems' own are not to be had here. Prints TAP; `make test-macos`.
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh
why=$(tests/systems/zig.sh 2>&1 >/dev/null) || skip_all "$why"

# compiles DESCRIPTION OPTION...
compiles() {
    # shellcheck disable=SC2086 # a list of words
    check "$1" tests/darwin/cc -std=c99 -O1 $strict -include tests/darwin/bsd.h "${@:2}" \
        -c -o "$work/o.o" tests/implementation.c
}

for system in FreeBSD DragonFly OpenBSD NetBSD; do
    compiles "$system" -DAS_${system^^}
    compiles "$system without coroutines and threads" -DAS_${system^^} \
        -DASOCKET_NO_COROUTINES -DASOCKET_NO_THREADS
done
done_testing
