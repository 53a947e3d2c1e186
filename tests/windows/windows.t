#!/bin/bash
# windows.t - the header for Windows: every compiler and dialect, its size, what it links with, fibers
# instead of assembly; and faults planted in it, which plain Wine forgives and strict.c must not.
cd "$(dirname "$0")/../.." || exit 1
GCC=x86_64-w64-mingw32-gcc
STRICT='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror'
export WINEPREFIX=${WINEPREFIX:-$PWD/build/wine/prefix} WINEDEBUG=-all
work=build/wine/work
rm -rf $work
mkdir -p $work
number=0

ok() { # status description
    number=$((number + 1))
    [ "$1" -eq 0 ] && echo "ok $number - $2" || echo "not ok $number - $2"
}

skip() { # why
    number=$((number + 1))
    echo "ok $number # SKIP $1"
}

compiles() { # description, command...
    local what=$1
    shift
    if ! command -v "$1" >/dev/null; then
        skip "$1 is missing"
        return
    fi
    timeout 120 "$@" >$work/log 2>&1
    local status=$?
    ok $status "$what"
    [ $status -eq 0 ] || sed 's/^/# /' $work/log | head -20
}

if ! command -v $GCC >/dev/null || ! command -v wine >/dev/null; then
    echo "1..0 # SKIP mingw-w64 or wine is missing: make setup-wine"
    exit
fi

# --- compilers -----------------------------------------------------------------------------------

plain="-c -o $work/x.o $work/plain.c"
printf '#define ASOCKET_IMPLEMENTATION\n#include "../../../asocket.h"\n' >$work/plain.c
for flags in '' -DASOCKET_FIBERS -DASOCKET_NO_COROUTINES -DASOCKET_NO_THREADS \
    '-DASOCKET_STATIC -Wno-unused-function'; do
    compiles "x64, C99 $flags" $GCC -std=c99 -O1 $STRICT $flags $plain
done
compiles 'i686, C99' i686-w64-mingw32-gcc -std=c99 -O1 $STRICT $plain
compiles 'x64, C++11' x86_64-w64-mingw32-g++ -x c++ -std=c++11 -O1 $STRICT $plain
for language in c c++; do
    compiles "as Microsoft's compiler sees it, $language" clang --target=x86_64-w64-mingw32 \
        -x $language -fms-extensions -Wall -Wextra -Wpedantic -Wgnu -Wno-builtin-macro-redefined \
        -Wno-unknown-pragmas -Wno-ignored-pragma-intrinsic -Wno-language-extension-token -Werror \
        -fsyntax-only tests/windows/msvc_like.c
done
compiles 'a program needs nothing but -lws2_32' $GCC -o $work/greeter.exe examples/greeter.c -lws2_32

$GCC -std=c99 -Os -DNDEBUG $plain
text=$(x86_64-w64-mingw32-size -A $work/x.o | awk '$1 == ".text" { print $2 }')
echo "# -Os: $text bytes of text"

# --- fibers --------------------------------------------------------------------------------------

flags='-std=gnu99 -O1 -g -D__USE_MINGW_ANSI_STDIO=1 -isystem tests/windows -Itests'
compiles 'coroutines on fibers' $GCC $flags -DASOCKET_FIBERS -o $work/fibers.exe \
    tests/test_coroutines.c tests/implementation.c tests/windows/strict.c -lws2_32 -static -lpthread
timeout 100 wine $work/fibers.exe iocp >$work/fibers.out 2>&1
ok $? 'they all work'
grep '^not ok' $work/fibers.out | sed 's/^/# /'

# --- planted faults ------------------------------------------------------------------------------

mkdir -p $work/tests
cp -r tests/implementation.c tests/test.h tests/tap.h tests/windows $work/tests/

# Builds planted.c over $work/asocket.h and runs it; what strict.c says is in $work/said.
planted() {
    timeout 120 $GCC -std=gnu99 -O1 -D__USE_MINGW_ANSI_STDIO=1 $1 -isystem $work/tests/windows \
        -I$work/tests -o $work/planted.exe $work/tests/windows/planted.c \
        $work/tests/implementation.c $work/tests/windows/strict.c -lws2_32 -static -lpthread \
        >$work/log 2>&1 || { sed 's/^/# /' $work/log | head; return 1; }
    run_planted
}

run_planted() {
    timeout 20 wine $work/planted.exe iocp >$work/said 2>&1
}

fault() { # what is left out, what must be said, perl that leaves it out
    if ! perl -0pe "BEGIN { \$n = 0 } $3; END { exit !\$n }" asocket.h >$work/asocket.h; then
        ok 1 "planted: $1 (its place was not found)"
        return
    fi
    planted
    for again in 1 2 3 4; do # some show only when the kernel is busy at the right moment
        grep -q "$2" $work/said && break
        run_planted
    done
    grep -q "$2" $work/said
    ok $? "planted: $1"
    grep -q "$2" $work/said || head -20 $work/said | sed 's/^/# /'
}

cp asocket.h $work/asocket.h
planted
ok $? 'without a fault nothing is said'
grep '^not ok\|^# ' $work/said | head -20

fault 'no SO_UPDATE_ACCEPT_CONTEXT' 'getpeername before SO_UPDATE' \
    '$n += s/SO_UPDATE_ACCEPT_CONTEXT/SO_KEEPALIVE/'
fault 'no SO_UPDATE_CONNECT_CONTEXT' 'shutdown before SO_UPDATE' \
    '$n += s/ASOCKET_SYS\(setsockopt\)\(socket->handle, SOL_SOCKET,\s+SO_UPDATE_CONNECT_CONTEXT, NULL, 0\)/0/'
fault 'no cancel before a close' 'pending read that was not cancelled' \
    '$n += s/\(void\)ASOCKET_WINDOWS\(CancelIoEx\)\([^;]*;/;/'
fault 'an operation freed while the kernel has it' 'memory of an operation is freed' \
    '$n += s/(operation->overlapped\);)\s+else\s+(asocket__operation_free)/$1 $2/'
fault 'bytes and OVERLAPPED used again too early' 'used again before its packet' \
    '$n += s/return (asocket__send_later)/return socket->ready |= ASOCKET_WRITE, $1/; $n += s/asocket__operation_pends\(socket, ASOCKET__WRITER\) \|\|//; $n = $n == 2'
fault 'a shutdown while bytes are on their way' 'shutdown while the kernel' \
    '$n += s/asocket__out_settle\(out, asocket__send_settled\(out->socket\)\)/asocket__out_settle(out, 0)/'
fault 'SO_REUSEADDR' 'SO_REUSEADDR lets others' \
    '$n += s/#define ASOCKET__REUSE +\(-1\)/#define ASOCKET__REUSE 1/; $n += s/type == SOCK_STREAM \? SO_EXCLUSIVEADDRUSE : SO_REUSEADDR/SO_REUSEADDR/; $n = $n == 2'
fault 'refusals of datagrams left on' 'SIO_UDP_CONNRESET is on' \
    '$n += s/SIO_UDP_CONNRESET, &off/SIO_UDP_NETRESET, &off/'
fault 'a refusal that takes two seconds' 'two seconds' \
    '$n += s/ASOCKET__INITIAL_RTO,\s/SIO_UDP_NETRESET, /'
fault 'a connect to 0.0.0.0' 'unspecified address' \
    '$n += s/s_addr = htonl\(INADDR_LOOPBACK\);(\s+else if)/s_addr = 0;$1/'

# The same faults go unnoticed where nobody is strict.
perl -0pe 's/SO_UPDATE_ACCEPT_CONTEXT/SO_KEEPALIVE/; s/\(void\)ASOCKET_WINDOWS\(CancelIoEx\)\([^;]*;/;/;
    s/SIO_UDP_CONNRESET, &off/SIO_UDP_NETRESET, &off/' asocket.h >$work/asocket.h
planted -DTEST_NOT_STRICT
ok $? 'three of them at a time are nothing to Wine itself'

echo "1..$number"
