"""Tests of the C++ extension: its version, and the errors if it cannot be loaded."""

import os
import pathlib
import subprocess
import sys

import pytest

from clinometer.kernels.cpu import native
from clinometer.tests.kernels import instruction_sets


def test_headers_of_another_version_are_refused(tmp_path):
    header = tmp_path / "xla/ffi/api/c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define XLA_FFI_API_MAJOR 7\n#define XLA_FFI_API_MINOR 12\n")
    running = native.header_api_version(str(tmp_path))
    assert running == (7, 12)
    with pytest.raises(ImportError, match=r"built for version 7\.11 .* has 7\.12"):
        native.check_api_version((7, 11), running)
    native.check_api_version((7, 12), running)


def test_auto_says_once_what_is_wrong_with_the_extension():
    code = """
import jax
from clinometer import kernels
from clinometer.kernels.cpu import _native

_native.FFI_API_VERSION = (0, 99)
x, weights = jax.numpy.ones((1, 8, 4)), jax.numpy.ones((2, 3))
for _ in range(2):
    for implementation in ("reference", "auto"):
        jax.clear_caches()
        kernels.light_conv(x, weights, causal=True, implementation=implementation)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    (line,) = result.stderr.splitlines()
    assert "built for version 0.99" in line and "jnp forms instead" in line
    assert "--no-build-isolation" in line


def test_unreadable_headers_are_refused(tmp_path):
    with pytest.raises(ImportError, match="cannot read"):
        native.header_api_version(str(tmp_path))
    header = tmp_path / "xla/ffi/api/c_api.h"
    header.parent.mkdir(parents=True)
    header.write_text("#define XLA_FFI_API_MAJOR 0\n")
    with pytest.raises(ImportError, match="does not define"):
        native.header_api_version(str(tmp_path))


def test_a_missing_extension_says_how_to_build_it():
    # A None in sys.modules is how Python spells a module that cannot be imported.
    code = (
        "import sys; sys.modules['clinometer.kernels.cpu._native'] = None\n"
        "from clinometer.kernels.cpu import native"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "ImportError: clinometer's C++ extension" in result.stderr
    assert "--no-cache-dir SOURCE" in result.stderr


def test_without_the_extension_only_its_name_is_an_error():
    code = """
import sys
sys.modules['clinometer.kernels.cpu._native'] = None
import jax
from clinometer import kernels

x, weights = jax.numpy.ones((1, 8, 4)), jax.numpy.ones((2, 3))

def run(**more):
    return jax.jit(lambda x: kernels.light_conv(x, weights, causal=True, **more))

print(kernels.choices(run(), x)[0].implementation, float(run()(x).sum()))
try:
    run(implementation="cpu")(x)
except kernels.NotSupportedError as error:
    print(error)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    auto, named = result.stdout.splitlines()
    # Position s sums min(s + 1, 3) ones; there are 4 channels.
    assert auto == f"reference {4 * (1 + 2 + 6 * 3):.1f}"
    assert named.startswith("light_conv (forward) has no implementation for this call:")
    assert "cpu: clinometer's C++ extension" in named and "SOURCE" in named
    (line,) = result.stderr.splitlines()
    assert line.startswith('"auto" takes the plain jnp forms instead')


def test_the_widest_instruction_set_runs_unless_another_is_wanted():
    if not pathlib.Path("/proc/cpuinfo").exists():
        pytest.skip("no /proc/cpuinfo to compare with")
    code = "from clinometer.kernels.cpu import native\nprint(native.active_isa())"
    environment = dict(os.environ)
    for wanted in ("", "baseline"):
        environment["CLINOMETER_CPU_ISA"] = wanted
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == (wanted or instruction_sets.widest())
