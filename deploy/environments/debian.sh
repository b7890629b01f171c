#!/usr/bin/env bash
# Installs Debian's packages that the tests of deploy/ use; those that lack one are skipped.
#   debian.sh lint    what `make test` uses
#   debian.sh run     what `make test-deploy` uses besides: containers, proxies, Docker's profile
set -euo pipefail
lint=(docker-compose prometheus)
run=(buildah podman runc uidmap netavark aardvark-dns catatonit iptables debootstrap nginx-light
  golang-github-docker-docker-dev)
case "${1:-}" in
  lint) packages=("${lint[@]}") ;;
  run) packages=("${lint[@]}" "${run[@]}") ;;
  *) echo "usage: $0 lint|run" >&2; exit 2 ;;
esac
if dpkg-query -W "${packages[@]}" > /dev/null 2>&1; then
  exit
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
