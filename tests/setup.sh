#!/bin/sh
# setup.sh package... - installs the Debian packages that are missing, without asking anything, as
# root or with a sudo that asks for no password. Tests skip by name what they find missing, so it
# fails only where there is no compiler or no prove in the end.
# shellcheck disable=SC2086 # lists of words are meant to be split
missing=
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing="$missing $package"
done

as_root='sudo -n env'
[ "$(id -u)" -ne 0 ] || as_root='env'
settings='DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a'
options='-y -q --no-install-recommends -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold'
apt() {
    $as_root $settings apt-get $options "$@" </dev/null
}

if [ -z "$missing" ]; then
    echo 'setup: everything that the tests need is installed'
elif ! command -v apt-get >/dev/null; then
    echo "setup: no apt-get here; install by hand what corresponds to:$missing" >&2
elif [ "$as_root" != env ] && ! sudo -n true 2>/dev/null; then
    echo "setup: needs root, or sudo without a password, to install:$missing" >&2
else
    echo "setup: installing$missing"
    # With the lists of packages as they are; then with new ones; then one by one, so that a package
    # that is not to be had does not keep the others away.
    apt install $missing || { apt update && apt install $missing; } ||
        for package in $missing; do
            apt install "$package" || echo "setup: $package cannot be installed" >&2
        done
fi
command -v cc >/dev/null && command -v prove >/dev/null
