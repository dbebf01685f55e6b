#!/usr/bin/env bash
# Builds the image penstock:latest without pulling any other: the binary by the Go tool chain on this machine, then
# deploy/Dockerfile.binary.
#
#   deploy/image.sh [IMAGE]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
image=${1:-penstock:latest}
version=${VERSION:-$(git -C "$root" describe --tags --always --dirty 2>/dev/null || echo dev)}

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
(cd "$root" && CGO_ENABLED=0 GOOS=linux go build -tags grpcnotrace -trimpath -ldflags "-s -w -X main.version=$version" \
  -o "$context/penstock" ./cmd/penstock)
mkdir -m 0750 "$context/state"
certificates=/etc/ssl/certs/ca-certificates.crt
if [[ -f $certificates ]]; then cp -L "$certificates" "$context/"; else : >"$context/ca-certificates.crt"; fi
docker build -q -f "$root/deploy/Dockerfile.binary" -t "$image" "$context" >/dev/null
echo "$image"
