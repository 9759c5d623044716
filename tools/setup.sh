#!/bin/bash
# Makes the virtual environment of this checkout. Run by `make setup` as
# tools/setup.sh PYTHON VENV; safe to run again, it then only adds what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly PYTHON=$1
readonly VENV=$2

fail() {
  echo "make setup: $*" >&2
  exit 1
}

command -v "${PYTHON}" >/dev/null ||
  fail "no '${PYTHON}' on PATH; install Python 3.11 or newer, or name one: make setup PYTHON=/path/to/python3.11"
"${PYTHON}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "'${PYTHON}' is $("${PYTHON}" --version 2>&1), but 3.11 or newer is needed; name one: make setup PYTHON=/path/to/python3.11"
"${PYTHON}" -c 'import ensurepip, venv' 2>/dev/null ||
  fail "'${PYTHON}' cannot make virtual environments; on Debian: apt-get install python3-venv"
command -v "${CXX:-g++}" >/dev/null ||
  fail "no C++ compiler '${CXX:-g++}'; on Debian: apt-get install g++"
"${PYTHON}" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
  fail "the headers of '${PYTHON}' (Python.h) are missing; on Debian: apt-get install python3-dev"

# A virtual environment made by another Python cannot be mended, only remade.
if [[ -e ${VENV} ]]; then
  wanted=$("${PYTHON}" -c 'import sys; print(sys.version)')
  found=$("${VENV}/bin/python" -c 'import sys; print(sys.version)' 2>/dev/null || true)
  if [[ ${wanted} != "${found}" ]]; then
    echo "setup: ${VENV} belongs to another Python; remaking it"
    rm -rf "${VENV}"
  fi
fi
if [[ ! -e ${VENV} ]]; then
  echo "setup: making ${VENV} with $("${PYTHON}" --version)"
  "${PYTHON}" -m venv "${VENV}"
fi

echo "setup: installing the locked packages (some 250 MB at the first time)"
"${VENV}/bin/python" -m pip install -qq --retries 5 --require-hashes \
  --requirement requirements.lock
echo "setup: building the C++ kernels and linking this checkout into ${VENV}"
"${VENV}/bin/python" -m pip install -qq --no-deps --no-build-isolation --no-index \
  --editable .
echo "setup: done"
