#!/bin/sh
# bearssl.sh directory compiler - BearSSL for mingw, from Debian's source package: include/ and
# libbearssl.a in the directory. Debian has no binary package of it. Nothing of the system changes;
# what is there already stays.
set -e
directory=$1 compiler=$2
[ -f "$directory/libbearssl.a" ] && exit 0
mkdir -p "$directory/lists/partial"
cd "$directory"
key=/usr/share/keyrings/debian-archive-keyring.gpg
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
echo "deb-src [signed-by=$key] http://deb.debian.org/debian $suite main" >sources
apt() {
    timeout 120 apt-get -q -o Dir::Etc::sourcelist="$PWD/sources" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::Lists="$PWD/lists" "$@" >>log 2>&1
}
apt update
apt source --download-only bearssl
tar xJf bearssl_*.orig.tar.xz
cd bearssl-*/
mkdir -p ../objects
find src -name '*.c' | sort | xargs -P "$(nproc)" -I{} sh -c \
    "$compiler -Os -DBR_USE_WIN32_RAND=1 -DBR_USE_WIN32_TIME=1 -Isrc -Iinc -c -o ../objects/\$(echo {} | tr / _).o {}"
cp -r inc ../include
cd ..
"${compiler%gcc}ar" rc libbearssl.a objects/*.o
rm -rf objects lists bearssl-*/ *.dsc *.debian.tar.xz
