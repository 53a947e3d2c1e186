#!/bin/bash
# marks.t - what object files say about themselves to linkers and kernels: no executable stack;
# landing pads, signed return addresses and shadow stacks where they were asked for. Prints TAP.
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh
printf '#define ASOCKET_IMPLEMENTATION\n#include "asocket.h"\nint main(void) { return 0; }\n' \
    >"$work/all.c"

# shows PATTERN COMMAND... - whether what the command prints has the pattern.
shows() {
    "${@:2}" 2>&1 | tee "$work/shown"
    grep -qE "$1" "$work/shown"
}

# look DESCRIPTION PATTERN COMMAND...
look() { check "$1" shows "${@:2}"; }

for cc in gcc clang i686-linux-gnu-gcc aarch64-linux-gnu-gcc arm-linux-gnueabihf-gcc \
    'arm-linux-gnueabihf-gcc -marm' riscv64-linux-gnu-gcc s390x-linux-gnu-gcc \
    powerpc64le-linux-gnu-gcc musl-gcc; do
    if ! command -v "${cc%% *}" >/dev/null; then
        skip "${cc%% *} is missing"
        continue
    fi
    # shellcheck disable=SC2086
    $cc -std=c99 -I. -o "$work/program" "$work/all.c" -pthread
    look "$cc: the stack is not executable" 'GNU_STACK.* RW ' readelf -lW "$work/program"
done

for cc in gcc clang; do
    command -v $cc >/dev/null || continue
    $cc -std=c99 -O1 -fcf-protection=full -I. -c -o "$work/all.o" "$work/all.c"
    look "$cc -fcf-protection: the object is fit for landing pads and shadow stacks" \
        'IBT, SHSTK' readelf -n "$work/all.o"
    objdump -d --no-show-raw-insn "$work/all.o" >"$work/code"
    look "$cc: where a stack begins is a landing pad" 'endbr64' \
        grep -A1 '<asocket__entry>:' "$work/code"
    # Each switch takes from the stack where to go on, jumps, and behind it is where it comes back.
    look "$cc: so is where one goes on" '^[1-9][0-9]* of them, 0 without$' awk '
        after { total++; without += !/endbr64/ }
        { after = popped && /jmp +\*%rax/; popped = /pop +%rax/ }
        END { print total + 0 " of them, " without + 0 " without" }' "$work/code"
    look "$cc: each switch asks for a shadow stack" 'rdsspq' cat "$work/code"
done

if command -v aarch64-linux-gnu-gcc >/dev/null; then
    aarch64-linux-gnu-gcc -std=c99 -O1 -mbranch-protection=standard -I. -c -o "$work/all.o" "$work/all.c"
    look 'AArch64 -mbranch-protection: the object is fit for landing pads and signed returns' \
        'BTI, PAC' readelf -n "$work/all.o"
fi
done_testing
