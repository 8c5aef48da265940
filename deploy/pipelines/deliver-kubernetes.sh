#!/bin/sh
# Stores the file $1 in a Secret of the cluster, from a pod whose service account can patch that Secret.
#
# Needs SECRET and NAMESPACE. Optional: MEMBER (client-secret), TLS and token of the service account in ACCOUNT.
# Neither the token nor the secret becomes an argument or a word of this script, so no process list and no trace has them.
set -eu

account=${ACCOUNT:-/var/run/secrets/kubernetes.io/serviceaccount} member=${MEMBER:-client-secret}
case $SECRET$NAMESPACE$member in
    *[!-._0-9A-Za-z]* | *..*) echo "deliver-kubernetes.sh: SECRET, NAMESPACE and MEMBER must be names of Kubernetes." >&2 && exit 2 ;;
esac
case $KUBERNETES_SERVICE_HOST in
    *:*) host="[$KUBERNETES_SERVICE_HOST]" ;;
    *) host=$KUBERNETES_SERVICE_HOST ;;
esac
[ -s "$1" ] && [ -r "$1" ] && [ -s "$account/token" ] || {
    echo "deliver-kubernetes.sh: The secret or the token of the service account is missing." >&2
    exit 1
}

# The settings of curl, on its stdin.
{
    printf 'header = "Authorization: Bearer '
    tr -d '\n' <"$account/token"
    printf '"\ndata = "{\\"data\\":{\\"%s\\":\\"' "$member"
    base64 -w 0 <"$1"
    printf '\\"}}"\n'
} | curl --disable --config - --request PATCH --header 'Content-Type: application/merge-patch+json' \
    --cacert "$account/ca.crt" --proto =https --noproxy '*' --max-time 30 --silent --show-error --fail --output /dev/null \
    "https://$host:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/$NAMESPACE/secrets/$SECRET"
