#!/usr/bin/env bash
# Makes the Docker image apache/kafka:4.3.1 available, and prints its name.
#
#   .ci/kafka-image.sh
#
# Where the image is there, nothing is done. Else it is pulled. Where no container registry can be reached, an image
# of the same interface is built: a JRE from the distribution's packages, the broker's jars from Maven Central, both
# by the apt and Maven settings (mirror, proxy) found on the machine. What is missing for this is installed; it
# needs root and a Debian or Ubuntu. As root it also starts the Docker daemon where none answers.
#
# KAFKA_VERSION   another version than kafka-image/pom.xml's
# PULL_SECONDS    how long a pull may take to start to succeed, 20; 0 builds without asking a registry
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
files=$here/kafka-image
version=${KAFKA_VERSION:-$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$files/pom.xml")}
image=apache/kafka:$version

say() { echo "kafka-image: $*" >&2; }
die() { say "$*"; exit 1; }
is_root() { [[ $(id -u) == 0 ]]; }

# install COMMAND=PACKAGE... installs the packages whose command is missing.
install() {
  local pair missing=()
  for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  ((${#missing[@]})) || return 0
  is_root || die "missing: ${missing[*]}; install them, or run this as root"
  command -v apt-get >/dev/null || die "missing: ${missing[*]}; no apt-get here, install them by hand"
  say "installing ${missing[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

start_docker() {
  docker info >/dev/null 2>&1 && return
  is_root || die "no Docker daemon answers; start it, or run this as root"
  if ! command -v dockerd >/dev/null || ! command -v docker >/dev/null; then
    say "installing docker.io"
    apt-get update -qq >&2
    # With what it recommends: the mount of the control groups, and on some releases the client.
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq docker.io iptables >/dev/null
  fi
  # Without systemd nobody else mounts them after a boot.
  mountpoint -q /sys/fs/cgroup || ! command -v cgroupfs-mount >/dev/null || cgroupfs-mount
  local log=/var/log/penstock-dockerd.log
  say "starting dockerd, log in $log"
  # A session of its own and no lock: the daemon outlives this script.
  setsid dockerd >"$log" 2>&1 </dev/null 9>&- &
  for _ in $(seq 120); do
    docker info >/dev/null 2>&1 && return
    sleep 0.25
  done
  tail -n 5 "$log" >&2
  die "dockerd did not answer within 30 s"
}

pull() {
  local seconds=${PULL_SECONDS:-20}
  ((seconds > 0)) || return 1
  timeout "$seconds" docker pull -q "$image" >/dev/null 2>&1
}

# apt_mirror prints the mirror that apt takes the distribution's main packages from.
apt_mirror() {
  local codename=$1
  # shellcheck disable=SC2016 # apt-get's own variables
  apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk -v codename="$codename" '$1 == codename && $2 == "main" { print $3; exit }'
}

# make_jre imports a minimal root file system with the newest long-term JRE of this distribution.
make_jre() {
  local name=$1 codename mirror proxy='' package root components=main
  install debootstrap=debootstrap
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  # The package lists tell the mirror and the JRE's version.
  apt-cache show openjdk-17-jre-headless openjdk-21-jre-headless >/dev/null 2>&1 || apt-get update -qq >&2
  mirror=$(apt_mirror "$codename")
  [[ -n $mirror ]] || { apt-get update -qq >&2; mirror=$(apt_mirror "$codename"); }
  package=$(apt-cache search --names-only '^openjdk-(17|21|25)-jre-headless$' | awk '{ print $1 }' | sort | tail -n 1)
  [[ -n $package ]] || die "no JRE 17 or newer among this distribution's packages"
  grep -q '^ID=ubuntu' /etc/os-release && components=main,universe
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  root=$work/root
  say "building a root file system with $package ($codename)"
  http_proxy=${http_proxy:-$proxy} debootstrap --variant=minbase --components="$components" --include="$package" \
    "$codename" "$root" ${mirror:+"$mirror"} >"$work/debootstrap.log" 2>&1 ||
    { tail -n 20 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
  tar -C "$root" --exclude=./var/cache --exclude=./var/lib/apt --exclude=./usr/share/doc --exclude=./dev -cf - . |
    docker import - "$name" >/dev/null
}

build() {
  local jre=penstock-ci/jre
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  docker image inspect "$jre" >/dev/null 2>&1 || make_jre "$jre"
  install mvn=maven
  say "resolving the broker's jars"
  mkdir "$work/context"
  mvn -q -B -f "$files/pom.xml" -Dkafka.version="$version" \
    org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$work/context/libs" >"$work/mvn.log" 2>&1 ||
    { tail -n 20 "$work/mvn.log" >&2; die "mvn failed"; }
  cp "$files"/{Dockerfile,run,archive,tool,tools,log4j2.properties,server.properties} "$work/context"
  say "building $image"
  docker build --build-arg JRE="$jre" -t "$image" "$work/context" >"$work/build.log" 2>&1 ||
    { tail -n 20 "$work/build.log" >&2; die "docker build failed"; }
}

# One at a time: test packages and people may ask together.
exec 9>"${TMPDIR:-/tmp}/penstock-kafka-image.lock"
flock 9
start_docker
docker image inspect "$image" >/dev/null 2>&1 || pull || build
echo "$image"
