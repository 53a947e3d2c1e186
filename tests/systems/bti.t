#!/bin/bash
# bti.t - AArch64: the library's code, and a test's, on pages whose landing pads qemu checks. The C
# library has none, so those pages are a section of their own. Prints TAP.
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh
cc=aarch64-linux-gnu-gcc
for tool in $cc qemu-aarch64; do
    command -v "$tool" >/dev/null || skip_all "$tool is missing"
done
mkdir "$work/tests"
cp tests/*.[ch] "$work/tests"
flags='-std=c99 -O2 -mbranch-protection=standard'

# result_is WANTED - builds and runs it with the header in $work: ran, failed, trapped.
result_is() {
    local result
    for file in implementation test_coroutines; do
        # shellcheck disable=SC2086 # a list of words
        $cc $flags -c -o "$work/$file.o" "$work/tests/$file.c" &&
            aarch64-linux-gnu-objcopy --set-section-alignment text_bti=4096 \
                --rename-section .text=text_bti,alloc,load,readonly,code,contents "$work/$file.o"
    done
    # shellcheck disable=SC2086
    $cc $flags -D_GNU_SOURCE -static -o "$work/program" "$work"/*.o tests/systems/bti.c -pthread 2>/dev/null
    TEST_EMULATED=1 TEST_SLOWNESS=8 timeout --kill-after=5 150 \
        qemu-aarch64 -cpu max,pauth-impdef=on "$work/program" epoll >"$work/said" 2>&1
    case $? in
    0) result=ran ;;
    132) result=trapped ;; # by SIGILL
    *) result=failed; grep '^not ok' "$work/said" ;;
    esac
    echo "it $result"
    [ $result = "$1" ]
}

cp asocket.h "$work"
check 'coroutines run where each indirect branch must meet a landing pad' result_is ran
sed 's/"br x16\\n"/"br x20\\n"/' asocket.h >"$work/asocket.h"
check 'where one does not, the processor stops the program' result_is trapped
done_testing
