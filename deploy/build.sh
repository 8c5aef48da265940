#!/usr/bin/env bash
# Builds the program as it is released: one static file, whose bytes should not depend on the directory it is built in.
#
#   build.sh [TARGET-DIRECTORY]
#
# Prints the path of the program. Needs Rust, a C compiler and the static C library (part of libc6-dev on Debian).
# To get the same bytes, use the same versions of these, and the same sources. reproduce.sh checks this.
set -euo pipefail

root=$(realpath "$(dirname "$0")/..")
target=$(realpath -m "${1:-$root/target/dist}")
cargo_home=$(realpath "${CARGO_HOME:-$HOME/.cargo}")
host=$(rustc -vV | sed -n 's/^host: //p')

# Nothing of the builder's own settings: Cargo reads every key of its configuration from a variable, too.
unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS "${!CARGO_BUILD_@}" "${!CARGO_PROFILE_@}" "${!CARGO_TARGET_@}"
unset "${!CFLAGS_@}"
cd "$root"
# The same in an unpacked archive as in a clone. No part of the program says when it was built.
SOURCE_DATE_EPOCH=0
# Paths are part of messages. The last map that fits a path counts, so a directory comes after those that may contain it.
maps=("$cargo_home=/cargo" "$root=/crossfade" "$target=/target")
# Flags are separated by the character 31.
flags=(-C target-feature=+crt-static)
CFLAGS=
for map in "${maps[@]}"; do
    flags+=("--remap-path-prefix=$map")
    CFLAGS+=" -ffile-prefix-map=$map"
done
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f'; echo "${flags[*]}")
export SOURCE_DATE_EPOCH CFLAGS CARGO_ENCODED_RUSTFLAGS LC_ALL=C TZ=UTC

# With a target, the flags do not apply to programs that run during the build.
cargo build --profile dist --locked --package crossfade --bin crossfade --target "$host" --target-dir "$target" >&2
program=$target/$host/dist/crossfade
if readelf --dynamic "$program" | grep -q NEEDED; then
    echo "$program needs libraries" >&2
    exit 1
fi
echo "$program"
