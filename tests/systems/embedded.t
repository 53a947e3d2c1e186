#!/bin/bash
# embedded.t - ASOCKET_EMBEDDED: how much it needs. Prints TAP; `prove tests/systems/embedded.t`.
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh

implementation="$work/all.c"
printf '#define ASOCKET_IMPLEMENTATION\n#include "asocket.h"\n' >"$implementation"
for cc in 'gcc -std=c99' 'clang -std=c99' 'g++ -x c++ -std=c++11' 'clang++ -x c++ -std=c++11'; do
    if command -v "${cc%% *}" >/dev/null; then
        # shellcheck disable=SC2086 # lists of words are meant to be split
        check "$cc compiles it without a word" \
            $cc $strict -DASOCKET_EMBEDDED -I. -fsyntax-only "$implementation"
    fi
done

# Names that are macros, as lwIP's may be.
cat >"$work/device.h" <<'END'
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>
#define accept(s, address, length) accept(s, address, length)
#define bind(s, name, length)      bind(s, name, length)
#define close(s)                   close(s)
#define connect(s, name, length)   connect(s, name, length)
#define fcntl(s, command, value)   fcntl(s, command, value)
#define listen(s, backlog)         listen(s, backlog)
#define poll(handles, count, time) poll(handles, count, time)
#define read(s, bytes, size)       read(s, bytes, size)
#define recv(s, bytes, size, f)    recv(s, bytes, size, f)
#define send(s, bytes, size, f)    send(s, bytes, size, f)
#define shutdown(s, how)           shutdown(s, how)
#define socket(domain, type, p)    socket(domain, type, p)
#define write(s, bytes, size)      write(s, bytes, size)
END
check 'a header of the device brings sockets and poll, as macros too' \
    gcc -std=c99 -Wall -Werror -DASOCKET_EMBEDDED "-DASOCKET_EMBEDDED_HEADER=\"$work/device.h\"" \
    -I. -fsyntax-only "$implementation"

thumb='arm-linux-gnueabihf-gcc -mthumb -fno-pic -std=c99 -Os -DNDEBUG -I.'
command -v arm-linux-gnueabihf-gcc >/dev/null || {
    echo "1..$tests # arm-linux-gnueabihf-gcc is missing: nothing measured"
    exit 0
}
# shellcheck disable=SC2086
$thumb -c -o "$work/echo.o" tests/lwip/echo.c
# shellcheck disable=SC2086
$thumb -DASOCKET_EMBEDDED -fstack-usage -c -o "$work/all.o" "$implementation"

text() { arm-linux-gnueabihf-size "$1" | awk 'END { print $1 + $2 }'; }
echo "# code and constants, Thumb -Os: $(text "$work/echo.o") bytes in an echo service," \
    "$(text "$work/all.o") with every call there is"
check 'an echo service is at most 16 KiB of code and constants' \
    test "$(text "$work/echo.o")" -le 16384
check 'no function has 1 KiB of variables' \
    awk -F'\t' '$2 >= 1024 || $3 != "static" { print; bad = 1 } END { exit bad }' "$work/all.su"

# All that it takes from the system, besides arithmetic.
system='accept|bind|clock_gettime|close|connect|fcntl|free|getpeername|getsockname|getsockopt|listen'
system="$system|malloc|poll|realloc|recv|recvmsg|send|sendto|setsockopt|shutdown|socket"
system="$system|(mem|str)[a-z]+|vsnprintf|__errno_location|__aeabi_[a-z]+"
arm-linux-gnueabihf-nm -u "$work/all.o" | awk '{ print $2 }' | grep -vxE "$system" >"$work/more"
check 'it needs sockets, poll, a clock, memory and strings' \
    sh -c "cat '$work/more'; test ! -s '$work/more'"
done_testing
