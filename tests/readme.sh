#!/usr/bin/env bash
# Types the README's first rotation as it stands there, in an empty directory: tests/readme.sh DIRECTORY-OF-THE-BINARY
#
# Only two things differ: the build is left out, and the server listens on a free port.
set -euo pipefail

binaries=$(realpath "$1")
readme=$(realpath "$(dirname "$0")/../README.md")
work=$(mktemp -d)
cd "$work"
passed=0 failed=0 server=''

cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

check() { # name, command…
    local name=$1
    shift
    if "$@" >"$work/check.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $name"
        cat "$work/check.log"
    fi
}

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
while read -r name; do unset "$name"; done < <(compgen -e | grep '^CROSSFADE_')
export PATH="$binaries:$PATH" NO_PROXY=localhost

# The block of commands under the heading, without the build.
awk '/^## A first rotation/ { here = 1 } here && /^```sh/ { on = 1; next } on && /^```/ { exit } on' "$readme" |
    sed -e '/^cargo build/d' -e "s/:8443/:$port/g" >typed.sh
check 'the README has its commands' grep -q 'crossfade secret rotate' typed.sh

token_of() { # a file with a secret: the status of the token endpoint
    curl --cacert ca.pem -sS -o /dev/null -w '%{http_code}' -u "$client_id:$(cat "$1")" -d grant_type=client_credentials \
        "https://localhost:$port/env/production/oauth2/token"
}
is() { [ "$1" = "$2" ] || { echo "$1 is not $2"; return 1; }; }

# In this shell, as somebody who types, who goes on after a command that fails.
touch failures
set +e
trap 'echo "$BASH_COMMAND" >>failures' ERR
. ./typed.sh >typed.out 2>typed.err
trap - ERR
set -e
server=$(jobs -p | head -n 1)
check 'each command succeeds' is "$(cat failures)" ''
check 'the token endpoint answered with a token' grep -q access_token typed.out
check 'the change-over is told' grep -q 'No caller has used the new secret' typed.out
check 'the second change-over shows the use' grep -q 'no known caller still uses the old secret' typed.out
check 'the revocation warns' grep -q '^Warning: Not safe to end yet' typed.err
check 'the revocation says what it did' grep -q '^Revoked the old secret sec_' typed.err
check 'the history shows the rotation' grep -qi 'revoked' typed.out
check 'without TLS there is no answer but a refusal' is "$(curl -s -o /dev/null -w '%{http_code}' "http://localhost:$port/")" 400
check 'the certificate is not one that is trusted anyway' is \
    "$(curl -s -o /dev/null -w '%{http_code}' "https://localhost:$port/healthz")" 000
check 'the old secret is refused' is "$(token_of billing.secret)" 401
check 'the new secret works' is "$(token_of billing.new)" 200
[ "$failed" -eq 0 ] || cat typed.out typed.err
kill -INT "$server" # as Ctrl-C, which does not drain
check 'the server ends in order' wait "$server"
server=''

echo "readme: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
