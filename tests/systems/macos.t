#!/bin/bash
# shellcheck disable=SC2086 # lists of words are meant to be split
# macos.t - programs for macOS, on x86-64 and AArch64: the header compiles without a warning, and every
# example and test links against macOS' own libraries, by the compiler and the headers that come with
# zig. Nothing here can run them: see tests/darwin for that. Prints TAP; `make test-macos`.
cd "$(dirname "$0")/../.." || exit 1
. tests/tap.sh
zig=$(tests/systems/zig.sh 2>&1) || skip_all "$zig"
export ZIG_GLOBAL_CACHE_DIR=build/cache/zig-cache ZIG_LOCAL_CACHE_DIR=build/cache/zig-cache
of_tests='-Wall -Wextra -Werror -Wno-deprecated-declarations
    -DTEST_WITHOUT_UV -DTEST_WITHOUT_GLIB -DTEST_WITHOUT_ZLIB'

# program OPTION... - links it, and looks at what it is.
program() {
    "$zig" cc -target "$target" -std=c99 -o "$work/program" "$@" || return 1
    file "$work/program" | grep -q "Mach-O 64-bit $kind executable" || { file "$work/program"; return 1; }
    rm "$work/program"
}

for target in x86_64-macos aarch64-macos; do
    kind=${target%-macos}
    kind=${kind/aarch64/arm64}
    check "$target: the implementation as C99" \
        "$zig" cc -target $target -std=c99 $strict -c -o "$work/c.o" tests/implementation.c
    check "$target: the implementation as C++11" \
        "$zig" c++ -x c++ -target $target -std=c++11 $strict -c -o "$work/cc.o" tests/implementation.c
    check "$target: without coroutines, without threads" \
        "$zig" cc -target $target -std=c99 $strict -DASOCKET_NO_COROUTINES -DASOCKET_NO_THREADS \
        -c -o "$work/plain.o" tests/implementation.c
    for example in examples/*.c; do
        if grep -q asocket_tls.h "$example"; then
            skip 'TLS on macOS needs the headers of Security, which zig does not bring'
            continue
        fi
        check "$target: $example links" program $strict "$example"
    done
    for test in tests/test_*.c; do
        check "$target: $test links" program $of_tests "$test" "$work/c.o"
    done
done
done_testing
