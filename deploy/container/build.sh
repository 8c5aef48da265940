#!/usr/bin/env bash
# Builds an image that contains the program, the root certificates and nothing else.
#
#   build.sh BINARY IMAGE
#
# BINARY is a built program for this machine's architecture. IMAGE is where buildah writes the image, such as
# oci-archive:crossfade.tar or docker://registry.example.com/crossfade:1.0. Needs buildah, and no daemon.
# The same BINARY and root certificates give the same image, at any time and place.
set -euo pipefail

binary=${1:?the program} image=${2:?where to write the image}
certificates=${CERTIFICATES:-/etc/ssl/certs/ca-certificates.crt}
version=$("$binary" --version | cut -d ' ' -f 2)

root=$(mktemp -d)
container=
cleanup() {
    if [ -n "$container" ]; then buildah rm "$container" >/dev/null; fi
    rm -rf "$root"
}
trap cleanup EXIT

install -D -m 755 "$binary" "$root/usr/local/bin/crossfade"
install -D -m 644 "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"
# A program that is linked dynamically needs its libraries, each at its place. A static one has none.
libraries=$(ldd "$binary" 2>/dev/null | grep -o '/[^ ]*' || true)
for library in $libraries; do
    install -D -m 755 "$library" "$root$library"
done
# The image's own times and owners, not those of this machine.
find "$root" -exec touch --no-dereference --date=@0 {} +

container=$(buildah from scratch)
buildah copy --quiet --chown 0:0 "$container" "$root" / >/dev/null
buildah config \
    --user 65532:65532 \
    --entrypoint '["/usr/local/bin/crossfade"]' \
    --cmd serve \
    --env PATH=/usr/local/bin \
    --env CROSSFADE_LISTEN=0.0.0.0:8080 \
    --port 8080/tcp \
    --workingdir / \
    --created-by crossfade \
    --annotation org.opencontainers.image.title=Crossfade \
    --annotation "org.opencontainers.image.version=$version" \
    "$container"
buildah commit --quiet --timestamp 0 --identity-label=false --squash "$container" "$image"
