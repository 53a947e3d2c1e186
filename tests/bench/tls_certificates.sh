#!/bin/sh
# tls_certificates.sh directory - a root, and certificates for localhost that it signed: rsa, ec.
set -e
mkdir -p "$1"
cd "$1"
[ -f root.pem ] && [ -f rsa.pem ] && [ -f ec.pem ] && exit 0
exec 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -keyout root.key -out root.pem -days 3650 \
    -subj '/CN=Bench Root' -addext 'basicConstraints=critical,CA:TRUE' \
    -addext 'keyUsage=critical,keyCertSign'
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >extensions
for kind in rsa ec; do
    openssl req -new -key $kind.key -subj '/CN=localhost' -out $kind.csr
    openssl x509 -req -in $kind.csr -CA root.pem -CAkey root.key -set_serial 0x$$$(date +%s) \
        -days 3650 -extfile extensions -out $kind.pem
done
