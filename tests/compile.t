#!/bin/bash
# shellcheck disable=SC2086 # lists of words are meant to be split
# compile.t - the header by itself: every dialect, every switch, every order of includes, and what
# the compiled library shows to the outside. Prints TAP; `prove tests/compile.t`.
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
strict="$strict -I."

# compiles DESCRIPTION COMMAND... - a check by a compiler, which may be missing.
compiles() {
    if command -v "$2" >/dev/null; then
        check "$@"
    else
        skip "$2 is missing"
    fi
}

# A file that implements the library, after the lines on standard input.
implementation() {
    cat >"$work/$1"
    printf '#define ASOCKET_IMPLEMENTATION\n#include "asocket.h"\nextern int last;\nint last;\n' >>"$work/$1"
}

# --- dialects and switches ------------------------------------------------------------------------

printf '#include "asocket.h"\nextern int last;\nint last;\n' >"$work/face.c"
implementation body.c </dev/null

for standard in c99 gnu99 c11 c17; do
    for cc in gcc clang; do
        compiles "$cc -std=$standard: the declarations" \
            $cc -std=$standard $strict -fsyntax-only "$work/face.c"
        compiles "$cc -std=$standard: the implementation" \
            $cc -std=$standard $strict -fsyntax-only "$work/body.c"
    done
done
for standard in c++11 gnu++11 c++17 c++20; do
    for cc in g++ clang++; do
        compiles "$cc -std=$standard: the declarations" \
            $cc -x c++ -std=$standard $strict -fsyntax-only "$work/face.c"
        compiles "$cc -std=$standard: the implementation" \
            $cc -x c++ -std=$standard $strict -fsyntax-only "$work/body.c"
    done
done
for switch in -DASOCKET_NO_COROUTINES -DASOCKET_NO_THREADS -DASOCKET_STATIC -DNDEBUG -funsigned-char \
    '-DASOCKET_NO_COROUTINES -DASOCKET_NO_THREADS'; do
    for cc in 'gcc -std=c99' 'clang -std=c99' 'g++ -x c++ -std=c++11' 'clang++ -x c++ -std=c++11'; do
        compiles "$cc $switch: the implementation" \
            $cc $strict $switch -fsyntax-only "$work/body.c"
    done
done
compiles 'a plain cc compiles it without a word' sh -c \
    "cc -I. -c -o '$work/plain.o' '$work/body.c' 2>&1 | (! grep .)"

# --- include order --------------------------------------------------------------------------------

# What a program may have included before: then feature macros come too late.
cat >"$work/system.h" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>
#include <pthread.h>
#include <signal.h>
#include <poll.h>
#include <netdb.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
END
printf '#include "asocket.h"\n#include "asocket.h"\n' | implementation twice.c
printf '#include "system.h"\n' | implementation after.c
printf '#include <stdio.h>\n' | implementation stdio.c
printf '#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif\n#include "system.h"\n' | implementation gnu.c
printf '#define ASOCKET_IMPLEMENTATION\n#include "asocket.h"\n#include "system.h"\n' | implementation again.c
for cc in 'gcc -std=gnu99' 'clang -std=gnu99' 'g++ -x c++ -std=c++11'; do
    for order in 'twice.c:the face twice, then the implementation' \
        'stdio.c:the implementation after <stdio.h>' \
        'after.c:the implementation after the headers of the system' \
        'gnu.c:after them with _GNU_SOURCE' \
        'again.c:the implementation twice in one file'; do
        compiles "$cc: ${order#*:}" $cc $strict -I"$work" -fsyntax-only "$work/${order%%:*}"
    done
done
# There the C library has already hidden what the implementation needs; it says what to do.
for cc in 'gcc -std=c99' 'clang -std=c99'; do
    compiles "$cc: the implementation first" $cc $strict -I"$work" -fsyntax-only "$work/again.c"
    compiles "$cc: the implementation after <stdio.h> with _GNU_SOURCE" \
        $cc $strict -I"$work" -fsyntax-only "$work/gnu.c"
    compiles "$cc: the implementation after <stdio.h> alone says what it needs" \
        sh -c "$cc -I. -fsyntax-only '$work/stdio.c' 2>&1 | grep '#error.*_GNU_SOURCE'"
done

# --- several files --------------------------------------------------------------------------------

cat >"$work/one.c" <<'END'
#include "asocket.h"
#include "asocket.h"
int one(void);
int one(void) { return asocket_ipv4(1, 2, 3, 4).bytes[0]; }
END
cat >"$work/two.c" <<'END'
#define ASOCKET_IMPLEMENTATION
#include "asocket.h"
int one(void);
int main(void)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket *server = asocket_bind(asocket_tcp(selector), "127.0.0.1", 0);
    int result = one() == 1 && server ? 0 : 1;

    asocket_selector_destroy(selector);
    return result;
}
END
sed 's/#define ASOCKET_IMPLEMENTATION/#define ASOCKET_STATIC\n&/' "$work/two.c" >"$work/private.c"
sed 's/one(void);/two(void);/; s/main/two/; s/one() == 1/1/' "$work/private.c" >"$work/private_too.c"
cat >>"$work/private_too.c" <<'END'
int one(void);
int one(void) { return two() + 1; }
END
compiles 'used in one file, implemented in another' \
    cc $strict -o "$work/pair" "$work/one.c" "$work/two.c"
check 'and it runs' "$work/pair"
sed '/IMPLEMENTATION/d; s/one() == 1/1/' "$work/two.c" >"$work/user.c"
compiles 'C uses what C++ implements' sh -c "
    g++ $strict -x c++ -std=c++11 -c -o '$work/body.o' '$work/body.c' &&
    cc $strict -c -o '$work/user.o' '$work/user.c' &&
    g++ -o '$work/mixed' '$work/user.o' '$work/body.o' -pthread"
check 'and it runs' "$work/mixed"
compiles 'C++ uses what C implements' sh -c "
    cc $strict -c -o '$work/body.o' '$work/body.c' &&
    g++ $strict -std=c++11 -o '$work/mixed' -x c++ '$work/user.c' -x none '$work/body.o' -pthread"
check 'and it runs too' "$work/mixed"
compiles 'ASOCKET_STATIC: a private copy in each of two files' \
    cc $strict -o "$work/private" "$work/private.c" "$work/private_too.c"
check 'and they run' "$work/private"
compiles 'with -flto, where the assembly of both is one text' \
    gcc -O2 -flto $strict -o "$work/whole" "$work/private.c" "$work/private_too.c"
check 'and they run' "$work/whole"

# --- another thread -------------------------------------------------------------------------------

# It exits with 0 when a call from a second thread, while the loop runs, is told why it is refused.
cat >"$work/intruder.c" <<'END'
#include <pthread.h>
#define ASOCKET_IMPLEMENTATION
#include "asocket.h"
static int refused;
static void *intrude(void *argument)
{
    asocket_selector *selector = (asocket_selector *)argument;
    refused = asocket_sleep(selector, 1) == ASOCKET_EINVAL &&
              strstr(asocket_error_message(selector), "belongs to one thread") != NULL;
    return NULL;
}
static void start(asocket_selector *selector, void *argument)
{
    pthread_t thread;
    (void)argument;
    if (!pthread_create(&thread, NULL, intrude, selector))
        pthread_join(thread, NULL);
}
int main(void)
{
    asocket_selector *selector = asocket_selector_create(NULL);
    asocket_launch(selector, start, NULL);
    asocket_run(selector);
    asocket_selector_destroy(selector);
    return !refused;
}
END
compiles 'a program whose threads share a selector compiles' \
    cc -I. -o "$work/intruder" "$work/intruder.c" -pthread
check 'the second thread is refused, with a status and a sentence' "$work/intruder"
for debug in DEBUG _DEBUG; do
    compiles "it compiles with $debug" cc -I. -D$debug -o "$work/intruder" "$work/intruder.c" -pthread
    check 'there it is an assertion' sh -c \
        "ulimit -c 0; '$work/intruder' 2>&1 | grep -q 'a selector belongs to one thread'"
    check 'which ends the program' sh -c "ulimit -c 0; ! '$work/intruder'"
done
compiles 'it compiles with an ASOCKET_ASSERT of its own' \
    cc -I. '-DASOCKET_ASSERT(condition)=((condition) ? (void)0 : exit(7))' \
    -o "$work/intruder" "$work/intruder.c" -pthread
check 'that one is asked' sh -c "'$work/intruder'; test \$? -eq 7"

# --- the programs that people copy ----------------------------------------------------------------

mkdir "$work/examples"
cp asocket.h "$work"
awk '/^```c/ { inside = 1; next } /^```/ && inside { exit } inside' README.md >"$work/examples/readme.c"
awk '/^A FIRST PROGRAM/ { wanted = 1 } wanted && /#define ASOCKET_IMPL/ { inside = 1 }
    inside { sub(/^       /, ""); print } inside && /^}/ && last { exit } /int main/ { last = 1 }' \
    asocket.h >"$work/examples/manual.c"
check 'the program of the README compiles as it stands' sh -c \
    "grep -q asocket_serve '$work/examples/readme.c' &&
    cc -Wall -Wextra -Werror -I'$work' -o '$work/readme' '$work/examples/readme.c' -pthread"
check 'the first program of the manual compiles as it stands' sh -c \
    "grep -q asocket_serve '$work/examples/manual.c' &&
    cc -Wall -Wextra -Werror -I. -o '$work/manual' '$work/examples/manual.c' -pthread"
check 'they are the greeter of the examples' sh -c "
    words() { grep -v '^#' \"\$1\" | sed 's|/[*].*[*]/||' | tr -d ' \\n'; }
    sed '1,/[*][/]/d' examples/greeter.c >'$work/greeter.c'
    test \"\$(words '$work/greeter.c')\" = \"\$(words '$work/examples/readme.c')\" &&
    test \"\$(words '$work/greeter.c')\" = \"\$(words '$work/examples/manual.c')\""

# A program can tell which version it has before it uses what is new.
printf '#include "asocket.h"\n#if ASOCKET_VERSION < 100 || ASOCKET_VERSION > 999999\n#error\n#endif\n' \
    >"$work/version.c"
printf 'extern int last;\nint last;\n' >>"$work/version.c"
check 'the version is a number that the preprocessor compares' cc $strict -fsyntax-only "$work/version.c"

# --- what it shows to the outside -----------------------------------------------------------------

# Names that another file, or another library, can see; hidden ones stay inside a linked program.
visible() {
    readelf -sW "$1" | awk '$5 != "LOCAL" && $6 == "DEFAULT" && $7 != "UND" && $8 != "last" &&
        $8 != "Name" && NF == 8 { print $8 }'
}
none() { # none DESCRIPTION - one test: standard input is empty.
    cat >"$work/found"
    check "$1" sh -c "cat '$work/found'; test ! -s '$work/found'"
}
# Position-dependent, so that constant tables are not counted as data to be relocated.
cc -I. -O2 -DNDEBUG -fno-pic -c -o "$work/library.o" "$work/body.c"
cc -I. -O2 -DASOCKET_STATIC -c -o "$work/static.o" "$work/body.c"
visible "$work/library.o" >"$work/names"
check 'the linker sees the functions of the face' grep -q '^asocket_bind$' "$work/names"
none 'every name that it sees begins with asocket_' < <(grep -v '^asocket_[a-z]' "$work/names")
none 'ASOCKET_STATIC: it sees nothing' < <(visible "$work/static.o")
none 'P6: there are no global variables' < <(nm "$work/library.o" | grep -i ' [bdc] ' | grep -v last)

check 'a program that uses it has no executable stack' sh -c \
    "readelf -lW '$work/readme' | grep 'GNU_STACK' | grep -q ' RW '"

# The seam: what comes from the system is called through ASOCKET_SYS, or is pure.
grep -o 'ASOCKET_SYS([a-z_0-9]*)' asocket.h | sed 's/.*(//; s/)//' | sort -u >"$work/seam"
pure='mem(chr|cmp|cpy|move|set|rchr)|str(chr|cmp|cspn|len|ncmp|nlen)|v?snprintf|pthread_(self|equal)'
# Of one thread's signals and the pool's lock, which cannot fail; gcc makes malloc and memset calloc.
pure="$pure|pthread_(mutex|cond)_[a-z]+|pthread_(detach|sigmask)"
pure="$pure|sig(addset|emptyset|fillset|ismember|pending|timedwait)|calloc"
pure="$pure|(get|make|swap)context" # where compilers prepare for shadow stacks unasked
none 'the object needs nothing else from the system' < <(nm -u "$work/library.o" |
    awk '{ print $2 }' | grep -vxE "__errno_location|__stack_chk_fail|$pure" | grep -vxFf "$work/seam")
none 'nothing on the seam is called past it' < <(sed 's|//.*||; /^extern /d' asocket.h |
    sed '1,/^#ifdef ASOCKET_IMPLEMENTATION/d' |
    grep -nE "(^|[^A-Za-z0-9_.>])($(grep -v '^name$' "$work/seam" | paste -sd'|'))\(")

# Macros that stand in asocket.h itself, as the preprocessor attributes them.
macros() {
    cc -I. -E -dD "$1" | awk '
        /^# [0-9]+ "/ { ours = $3 ~ /asocket\.h"$/ }
        /^#define / && ours { sub(/\(.*/, "", $2); print $2 }' | sort -u
}
none 'every macro of the declarations begins with ASOCKET_' \
    < <(macros "$work/face.c" | grep -v '^ASOCKET_')

done_testing
