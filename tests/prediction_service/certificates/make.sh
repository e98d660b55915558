#!/usr/bin/env bash
# The certificates of the tests: an authority, a server on loopback, a client. Their
# keys protect nothing.
set -euo pipefail
cd "$(dirname "$0")"
days=36500
curve=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req -x509 "${curve[@]}" -days $days -subj "/CN=test authority" \
    -keyout ca.key -out ca.pem
for name in server client; do
    openssl req "${curve[@]}" -subj "/CN=test $name" -keyout $name.key -out $name.csr
    openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca.key -days $days \
        -extfile <(echo "subjectAltName=IP:127.0.0.1,DNS:localhost") -out $name.pem
    rm $name.csr
done
rm -f ca.key ca.srl
