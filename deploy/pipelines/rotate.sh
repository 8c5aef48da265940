#!/bin/sh
# Rotates a secret that is old enough, delivers it, and ends the old secret once no known caller uses it.
#
# Needs CROSSFADE_URL, CROSSFADE_TOKEN, and:
#   CLIENT, ENVIRONMENT  what to rotate
#   DELIVER              command that stores the new secret; it gets the file as its only argument
# Optional: MAX_AGE (80d), TRANSITION (24h), WAIT (2h; empty: the old secret ends at its deadline)
set -eu

file=$(mktemp -d)/secret
trap 'rm -rf "$(dirname "$file")"' EXIT

status=0
crossfade secret rotate "$CLIENT" --env "$ENVIRONMENT" --transition "${TRANSITION:-24h}" --confirm "$CLIENT" \
    --reason "scheduled rotation" --if-older-than "${MAX_AGE:-80d}" --exit-code --output "$file" || status=$?
case $status in
    0) "$DELIVER" "$file" ;;
    8) echo "young enough" && exit 0 ;;
    *) exit "$status" ;;
esac

[ -n "${WAIT-2h}" ] || exit 0
status=0
crossfade secret watch "$CLIENT" --env "$ENVIRONMENT" --until safe --timeout "${WAIT:-2h}" || status=$?
case $status in
    0) crossfade secret revoke "$CLIENT" --env "$ENVIRONMENT" --only-if safe --reason "all callers have moved" ;;
    6) echo "The old secret ends at its deadline." ;;
    *) exit "$status" ;;
esac
