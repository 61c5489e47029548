#!/bin/sh
# Writes the Secrets of a cluster with its own Redis as one manifest, to be applied and then kept
# like any other secret:
#
#   sh deploy/secrets.sh > secrets.yaml && kubectl apply -f secrets.yaml
#
# Passwords, certificates and an operator's API key are made anew at every call. Redis's certificate
# is for its Service and lasts as long as the authority that signs it here, whose key is not kept:
# ten years. With a Redis of somebody else's, write the three Secrets that deploy/README.md names by
# hand instead.
set -eu

namespace="${NAMESPACE:-blockyard}"
host="${REDIS_HOST:-blockyard-redis}"
port="${REDIS_PORT:-6379}"
ca_path="${REDIS_CA_PATH:-/etc/blockyard/redis-ca/ca.crt}"

work="$(mktemp -d)"
trap 'rm -rf "${work}"' EXIT
umask 077

password() { openssl rand -hex 32; }
hash() { printf %s "$1" | openssl dgst -sha256 -r | cut -d ' ' -f 1; }
indented() { sed 's/^/    /' "$1"; }

gcs="$(password)"
registry="$(password)"
reader="$(password)"
operator="by-$(password)"

key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
# shellcheck disable=SC2086  # the words of ${key} are meant to be several
openssl req -x509 ${key} -nodes -sha256 -days 3650 -subj "/CN=blockyard redis CA" \
  -keyout "${work}/ca.key" -out "${work}/ca.crt" 2>/dev/null
# shellcheck disable=SC2086
openssl req ${key} -nodes -sha256 -subj "/CN=${host}" \
  -keyout "${work}/tls.key" -out "${work}/tls.csr" 2>/dev/null
printf 'subjectAltName=DNS:%s,DNS:%s.%s.svc,DNS:localhost,IP:127.0.0.1\n' \
  "${host}" "${host}" "${namespace}" > "${work}/names"
openssl x509 -req -sha256 -days 3650 -in "${work}/tls.csr" -extfile "${work}/names" \
  -CA "${work}/ca.crt" -CAkey "${work}/ca.key" -CAcreateserial -out "${work}/tls.crt" 2>/dev/null

cat << MANIFEST
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-redis-tls
  namespace: ${namespace}
type: kubernetes.io/tls
stringData:
  tls.crt: |
$(indented "${work}/tls.crt")
  tls.key: |
$(indented "${work}/tls.key")
  ca.crt: |
$(indented "${work}/ca.crt")
---
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-redis-ca
  namespace: ${namespace}
stringData:
  ca.crt: |
$(indented "${work}/ca.crt")
---
# Ray's own keys (DUMMY is one it asks for at its start); the registry's writers; gateways, which
# only read, tell each other of placements, and count for rate limits; the probe, which may ask
# whether anybody is there.
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-redis-acl
  namespace: ${namespace}
stringData:
  users.acl: |
    user default off
    user gcs on #$(hash "${gcs}") ~RAY* ~DUMMY &RAY* +@all -@admin
    user registry on #$(hash "${registry}") ~orch:* +@read +@write +@connection +@scripting -@dangerous
    user reader on #$(hash "${reader}") %R~orch:* ~orch:limits:* &orch:* +@connection +mget +hgetall +get +publish +subscribe +unsubscribe +evalsha +script|load +set +exists +pttl +rename +incrby
    user probe on nopass resetkeys -@all +ping
---
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-gcs
  namespace: ${namespace}
stringData:
  username: gcs
  password: ${gcs}
---
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-registry
  namespace: ${namespace}
stringData:
  url: rediss://registry:${registry}@${host}:${port}/0?ssl_ca_certs=${ca_path}
  url-readonly: rediss://reader:${reader}@${host}:${port}/0?ssl_ca_certs=${ca_path}
---
# Who may ask for anything. \`blockyard keys new\` prints more entries; gateways notice changes.
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-api-keys
  namespace: ${namespace}
stringData:
  keys.toml: |
    # Prometheus comes without a key: the network policies say who reaches /metrics.
    metrics = "open"

    [[key]]
    name = "operator"
    sha256 = "$(hash "${operator}")"
    tenant = "operators"
    is_operator = true
---
# The operator's key itself, for who types commands and for chaos by night.
apiVersion: v1
kind: Secret
metadata:
  name: blockyard-operator-key
  namespace: ${namespace}
stringData:
  key: ${operator}
MANIFEST
