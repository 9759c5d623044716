#!/bin/bash
# Writes eight lock files with hashes. Run by `make lock`.
#
# requirements.lock is resolved from pyproject.toml for all supported versions of Python,
# with markers where package versions differ. requirements-cuda.lock adds JAX's libraries
# for NVIDIA GPUs, in the versions of its JAX; requirements-tpu.lock holds the TPU
# compiler, which few users need and which would double the size of the set-up;
# requirements-stats.lock holds statsmodels, which one test compares with;
# requirements-notebook.lock holds what runs tools/report/notebook.ipynb;
# requirements-ray.lock adds Ray, of 270 MB, in an environment of its own;
# requirements-mesh-tf.lock adds TensorFlow for CPUs, which reads its checkpoints, on x86-64;
# requirements-peer.lock adds transformers and PyTorch for CPUs, which are compared with, on
# Python 3.11 and x86-64. PyTorch's wheels for CPUs are not on PyPI: pip and uv have to be
# told where they are, with PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL.
# `tools/lock.sh optax` upgrades only the named packages; without arguments, all of them.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/.."

readonly UV_VERSION=0.13.8
# The format of the compiler's reports depends on its version; our parser is for this one.
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
  --universal --python-version 3.11 --extra study --extra convert --extra slurm \
  --extra vision --extra dev \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" "${upgrade[@]}" \
  --output-file requirements.lock
grep -c '==' requirements.lock | sed 's/$/ packages in requirements.lock/'
"${VENV}/bin/uv" pip compile - --quiet --universal --python-version 3.11 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-cuda.lock <<<"jax[cuda13]"
"${VENV}/bin/uv" pip compile - --quiet --no-deps --universal --python-version 3.11 \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-tpu.lock <<<"libtpu==${LIBTPU_VERSION}"
"${VENV}/bin/uv" pip compile - --quiet --universal --python-version 3.11 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-stats.lock <<<"statsmodels>=0.15,<0.16"
"${VENV}/bin/uv" pip compile - --quiet --universal --python-version 3.11 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-notebook.lock <<<$'nbclient>=0.10,<1\nipykernel>=6.29,<8'
"${VENV}/bin/uv" pip compile - --quiet --universal --python-version 3.11 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-ray.lock <<<"ray>=2.50,<3"
"${VENV}/bin/uv" pip compile - --quiet \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-mesh-tf.lock <<<$'gin-config>=0.5,<1\ntensorflow-cpu>=2.21,<3'
UV_FIND_LINKS="${PIP_FIND_LINKS:-}" UV_EXTRA_INDEX_URL="${PIP_EXTRA_INDEX_URL:-}" \
  "${VENV}/bin/uv" pip compile - --quiet \
  --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
  --constraint requirements.lock \
  --generate-hashes --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock" \
  --output-file requirements-peer.lock <<<$'torch==2.13.0+cpu\ntransformers==5.24.0'
