#!/bin/sh
# setup.sh package... - installs Debian packages that are missing, without asking anything.
# Needs root, or sudo that asks for no password. Says what it does; fails when it cannot.
missing=
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo 'setup: everything that the tests need is installed'
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here; install by hand what stands for:$missing" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    as_root='env'
elif command -v sudo >/dev/null; then
    as_root='sudo -n env'
else
    echo "setup: needs root or sudo to install:$missing" >&2
    exit 1
fi
echo "setup: installing$missing"
quiet='DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a'
options='-y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold'
install() {
    # shellcheck disable=SC2086
    $as_root $quiet apt-get $options install "$@" </dev/null
}
# The lists of packages may be new enough; when they are not, they are fetched and it is tried
# again. If one package is not to be had, the others are.
# shellcheck disable=SC2086
install $missing && exit 0
# shellcheck disable=SC2086
$as_root $quiet apt-get $options update </dev/null
# shellcheck disable=SC2086
install $missing && exit 0
status=0
for package in $missing; do
    install "$package" || { echo "setup: cannot install $package" >&2; status=1; }
done
exit $status
