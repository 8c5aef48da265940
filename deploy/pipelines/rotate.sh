#!/bin/sh
# Rotates a secret that is old enough, delivers it, and ends the old secret once no known caller uses it.
#
# Needs CROSSFADE_URL, CROSSFADE_TOKEN, and:
#   CLIENT, ENVIRONMENT  name of the client, and the environment to rotate in
#   DELIVER              program that stores the new secret; it gets the file as its only argument, perhaps twice
# Optional:
#   RUN         names this run of the job and no other; if it is repeated within 10 minutes, it delivers the same secret
#   MAX_AGE     80d
#   TRANSITION  48h: longer than the pause between two runs, so that the next run notices an unused secret in time
#   WAIT        2h; empty: the old secret ends at its deadline
#   PAUSES      5 10 20 40: seconds before each further attempt to deliver
# Exits with 9 if a rotation seems not to have been delivered, and otherwise like crossfade.
set -eu

fail() {
    echo "rotate.sh: $1" >&2
    exit "${2:-1}"
}

# All that can be wrong is found before anything is rotated.
: "${CLIENT:?}" "${ENVIRONMENT:?}" "${DELIVER:?}" "${CROSSFADE_URL:?}"
# A trace of the shell shows each word, so the token is none.
[ -n "${CROSSFADE_TOKEN:+set}" ] || fail "CROSSFADE_TOKEN is not set. Nothing was changed." 2
command -v crossfade >/dev/null || fail "There is no program crossfade. Nothing was changed."
command -v -- "$DELIVER" >/dev/null || fail "DELIVER is not a program that can be run. Nothing was changed."

directory=$(mktemp -d)
file=$directory/secret
stopped=
trap 'rm -rf "$directory"' EXIT
# A shell without a trap for signals runs none for its exit either. A secret that is there already is delivered first.
trap 'stopped=yes' INT TERM HUP

status=0
crossfade secret rotate --env="$ENVIRONMENT" --transition="${TRANSITION:-48h}" --confirm="$CLIENT" \
    --reason="scheduled rotation" --if-older-than="${MAX_AGE:-80d}" --exit-code --output="$file" \
    ${RUN:+"--idempotency-key=$RUN"} -- "$CLIENT" || status=$?
case $status in
    0) ;;
    8) echo "young enough" && exit 0 ;;
    *) exit "$status" ;;
esac

# The program that delivers needs no token of Crossfade.
deliver() (
    unset CROSSFADE_TOKEN
    exec "$DELIVER" "$file"
)
delivered=
for pause in 0 ${PAUSES-5 10 20 40}; do
    sleep "$pause" || :
    if deliver; then
        delivered=yes
        break
    fi
    [ -z "$stopped" ] || break
done
rm -rf "$directory"
[ -n "$delivered" ] || fail "The secret was rotated, and the new one was not delivered. Programs still use the old one. \
Repeat this run within 10 minutes, if it has a RUN; or deliver what crossfade secret reveal shows to an account that can \
reveal secrets; or roll the rotation back with crossfade secret rollback or in the Console." 9

[ -z "$stopped" ] || exit 130
trap 'exit 130' INT TERM HUP
[ -n "${WAIT-2h}" ] || exit 0
# Not in the foreground, so that a signal ends the script immediately.
crossfade secret watch --env="$ENVIRONMENT" --until=safe --timeout="${WAIT:-2h}" -- "$CLIENT" &
watching=$!
trap 'kill "$watching" || :; exit 130' INT TERM HUP
wait "$watching" || status=$?
trap 'exit 130' INT TERM HUP
case $status in
    # 1: it has ended, or the command failed. The revocation tells these cases apart.
    0 | 1) crossfade secret revoke --env="$ENVIRONMENT" --only-if=safe --reason="all callers have moved" -- "$CLIENT" ;;
    6)
        now=$(crossfade secret change-over --env="$ENVIRONMENT" --json -- "$CLIENT")
        case $now in
            *'
  "verdict": "not_started"'*) fail "No caller has used the new secret. Check that the programs read it." 9 ;;
        esac
        echo "The old secret ends at its deadline."
        ;;
    *) exit "$status" ;;
esac
