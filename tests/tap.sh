# shellcheck shell=bash disable=SC2034 # strict is for those who read this
# tap.sh - what scripts in bash need to print TAP, as tap.h for programs. Read from the top level:
#
#     . tests/tap.sh
#     check 'one is less than two' test 1 -lt 2     # one test: the command succeeds
#     skip 'two is missing'
#     done_testing
#
# $work is a directory that is removed at the end; $strict are the warnings that no code may cause.
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
strict='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wundef -Werror'
tests=0

# check DESCRIPTION COMMAND... - what the command said is shown when it fails.
check() {
    tests=$((tests + 1))
    if "${@:2}" >"$work/log" 2>&1; then
        echo "ok $tests - $1"
    else
        echo "not ok $tests - $1"
        echo "# ${*:2}"
        sed 's/^/# /' "$work/log" | head -40
    fi
}

# skip WHY - one test that cannot run here.
skip() {
    tests=$((tests + 1))
    echo "ok $tests # SKIP $1"
}

# skip_all WHY - none can.
skip_all() {
    echo "1..0 # SKIP $1"
    exit 0
}

done_testing() {
    echo "1..$tests"
}
