#!/usr/bin/env bash
# Builds penstock for each platform, with the licence and the README, as archives with their checksums in dist/.
#
#   deploy/release.sh [PLATFORM...]     such as linux/amd64; all of them without
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
version=${VERSION:-$(git describe --tags --always --dirty 2>/dev/null || echo dev)}
platforms=("$@")
((${#platforms[@]})) || platforms=(linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64)

mkdir -p dist
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archives=()
for platform in "${platforms[@]}"; do
  os=${platform%/*} arch=${platform#*/}
  name=penstock-$version-$os-$arch
  mkdir "$work/$name"
  binary=penstock
  [[ $os != windows ]] || binary=penstock.exe
  CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -tags grpcnotrace -trimpath -ldflags "-s -w -X main.version=$version" -o "$work/$name/$binary" ./cmd/penstock
  cp LICENSE README.md CHANGELOG.md deploy/OPERATING.md deploy/RUNBOOK.md "$work/$name/"
  tar -C "$work" --owner=0 --group=0 -czf "dist/$name.tar.gz" "$name"
  archives+=("$name.tar.gz")
done
(cd dist && sha256sum "${archives[@]}" | tee "penstock-$version.sha256")
