#!/bin/bash
# Creates the virtual environment of this checkout. `make setup` runs it as
# tools/setup.sh PYTHON VENV. When run again, it only installs what is missing.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/.."

readonly PYTHON=$1
readonly VENV=$2

fail() {
  echo "make setup: $*" >&2
  exit 1
}

command -v "${PYTHON}" >/dev/null ||
  fail "no '${PYTHON}' on PATH; install Python 3.11 or newer, or give its path: make setup PYTHON=/path/to/python3.11"
"${PYTHON}" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "'${PYTHON}' is $("${PYTHON}" --version 2>&1), but 3.11 or newer is needed; give its path: make setup PYTHON=/path/to/python3.11"
"${PYTHON}" -c 'import ensurepip, venv' 2>/dev/null ||
  fail "'${PYTHON}' cannot create virtual environments; on Debian: apt-get install python3-venv"
command -v "${CXX:-g++}" >/dev/null ||
  fail "no C++ compiler '${CXX:-g++}'; on Debian: apt-get install g++"
"${PYTHON}" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
  fail "the headers of '${PYTHON}' (Python.h) are missing; on Debian: apt-get install python3-dev"

# A virtual environment that belongs to another Python or folder, or whose creation was
# interrupted, has to be created again.
made_for="$(pwd) $("${PYTHON}" -c 'import sys; print(sys.executable, sys.version)')"
if [[ -e ${VENV} && $(cat "${VENV}/made-for" 2>/dev/null) != "${made_for}" ]]; then
  echo "setup: ${VENV} belongs to another Python or folder; recreating it"
  rm -rf "${VENV}"
fi
if [[ ! -e ${VENV} ]]; then
  echo "setup: creating ${VENV} with $("${PYTHON}" --version)"
  "${PYTHON}" -m venv "${VENV}"
  echo "${made_for}" >"${VENV}/made-for"
fi

echo "setup: installing the locked packages (about 300 MB the first time)"
"${VENV}/bin/python" -m pip install -qq --retries 5 --require-hashes \
  --requirement requirements.lock
echo "setup: building the C++ kernels and linking this checkout into ${VENV}"
CLINOMETER_BUILD_KERNELS=1 "${VENV}/bin/python" -m pip install -qq --no-deps \
  --no-build-isolation --no-index --editable .
echo "setup: done"
