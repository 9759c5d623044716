#!/bin/bash
# Writes requirements.lock from pyproject.toml: one file with hashes for every
# supported Python, with markers where versions differ; and requirements-tpu.lock, the
# TPU compiler, which few need and whose size would double the set-up; and
# requirements-stats.lock, statsmodels for one test. Run by `make lock`.
# Name packages to move only those (`tools/lock.sh optax`); none moves them all.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/.."

readonly UV_VERSION=0.13.8
# The compiler's reports change with its version: the parser is for this one.
readonly LIBTPU_VERSION=0.0.51
readonly VENV=build/lock-venv
if [[ ! -x ${VENV}/bin/uv ]]; then
  "${PYTHON:-python3}" -m venv "${VENV}"
  "${VENV}/bin/pip" install --quiet "uv==${UV_VERSION}"
fi

upgrade=(--upgrade)
if (($# > 0)); then
  upgrade=()
  for package in "$@"; do
    upgrade+=(--upgrade-package "${package}")
  done
fi
"${VENV}/bin/uv" pip compile pyproject.toml --quiet \
  --universal --python-version 3.11 --extra study --extra dev \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" "${upgrade[@]}" \
  --output-file requirements.lock
grep -c '==' requirements.lock | sed 's/$/ packages in requirements.lock/'
"${VENV}/bin/uv" pip compile - --quiet --no-deps --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-tpu.lock <<<"libtpu==${LIBTPU_VERSION}"
"${VENV}/bin/uv" pip compile - --quiet --universal --python-version 3.11 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-stats.lock <<<"statsmodels>=0.15,<0.16"
