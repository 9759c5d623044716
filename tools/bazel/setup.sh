#!/bin/bash
# Sets up Bazel for this checkout, after `make setup`. It can be run again at any time.
#
# Writes .bazel/machine.rc, which .bazelrc imports. The file names the interpreter (that
# of the checkout's .venv, or CLINOMETER_PYTHON). If the Bazel on PATH is Debian's offline
# 4.2.3, it also names local folders that replace Bazel's own downloads; other versions
# (6 or 7, for instance by bazelisk) download what they need. If there is no Bazel on
# PATH, Debian's is installed, which needs root.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/../.."
root=$(pwd)
readonly root
readonly python=${CLINOMETER_PYTHON:-${root}/.venv/bin/python3}
readonly packages=(bazel-bootstrap bazel-rules-java bazel-rules-proto bazel-platforms
  bazel-skylib)

fail() {
  echo "tools/bazel/setup.sh: $*" >&2
  exit 1
}

[[ -x ${python} ]] ||
  fail "no interpreter ${python}; run 'make setup' first or set CLINOMETER_PYTHON"

if ! command -v bazel >/dev/null; then
  command -v apt-get >/dev/null || fail "no bazel on PATH; install Bazel 6 or 7"
  ((EUID == 0)) || fail "no bazel on PATH; as root: apt-get install ${packages[*]}"
  echo "bazel: installing ${packages[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null </dev/null
fi

mkdir -p .bazel
{
  echo "# Written by tools/bazel/setup.sh."
  echo "build --repo_env=CLINOMETER_PYTHON=${python}"
  # Debian's build carries no version number.
  if [[ $(bazel --version 2>/dev/null) == *no_version* ]]; then
    while read -r name path; do
      [[ -d ${path} ]] || fail "Debian's Bazel needs ${path}; as root: apt-get install ${packages[*]}"
      echo "common --override_repository=${name}=${path}"
    done <<REPOSITORIES
rules_java /usr/share/bazel/rules/java
rules_proto /usr/share/bazel/rules/proto
platforms /usr/share/bazel/tools/platforms
bazel_skylib /usr/share/bazel/tools/skylib
rules_cc ${root}/tools/bazel/stubs/rules_cc
remote_coverage_tools ${root}/tools/bazel/stubs/remote_coverage_tools
REPOSITORIES
  fi
} >.bazel/machine.rc.new
mv .bazel/machine.rc.new .bazel/machine.rc

# The server reads the interpreter's packages only when it starts.
bazel shutdown >/dev/null 2>&1
echo "bazel: ready; try 'bazel test //tests:smoke' and 'bazel run //train:main -- --help'"
