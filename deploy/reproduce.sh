#!/usr/bin/env bash
# Builds the last commit twice, in two directories, and compares the programs. Takes two release builds.
#
#   reproduce.sh [FILE]
#
# Keeps the program as FILE, if it is named.
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
keep=${1:+$(realpath -m "$1")}
# Two builds need space, and /tmp may be in memory.
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT

build() { # a directory
    mkdir -p "$1"
    git -C "$root" archive HEAD | tar -x -C "$1"
    local begun=$SECONDS program
    program=$("$1/deploy/build.sh" "$1/target")
    mv "$program" "$work/$(basename "$1").program"
    rm -rf "$1"
    echo "built in $1 in $((SECONDS - begun)) s"
}

build "$work/first"
build "$work/elsewhere/and/deeper/second"
sha256sum "$work"/*.program
if ! cmp "$work/first.program" "$work/second.program"; then
    echo "the two programs differ" >&2
    exit 1
fi
[ -z "$keep" ] || cp "$work/first.program" "$keep"
echo "the two programs are the same"
