"""Tests of all operations: instruction sets, threads, address sanitizer."""

import os
import subprocess
import sys

import pytest

from clinometer.tests.kernels import child
from clinometer.tests.kernels.relative_attention import bfloat16_errors

MAIN = "from clinometer.tests.kernels import every_op; every_op.main()"


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512", "amx"])
def test_every_instruction_set_gives_the_reference(isa):
    result = child.printed_on(isa, MAIN)
    assert len(result["errors"]) == 7
    for name, error in result["errors"].items():
        assert error < 2e-5, name


def test_an_unknown_instruction_set_is_an_error():
    finished = child.run(
        "from clinometer.kernels.cpu import native", CLINOMETER_CPU_ISA="neon"
    )
    assert "CLINOMETER_CPU_ISA=neon: accepted are baseline, avx2" in finished.stderr


def test_any_number_of_threads_gives_the_same_bits():
    digests = MAIN.replace("main()", "main(with_errors=False)")
    many, one = child.printed_on_many_cores_and_one(digests)
    assert many["digests"] == one["digests"]


# Loads the extension from `path` in place of the installed one.
SANITIZED = """
import importlib.util, sys
name = "clinometer.kernels.cpu._native"
spec = importlib.util.spec_from_file_location(name, {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules[name] = module
import clinometer.kernels.cpu
clinometer.kernels.cpu._native = module
"""


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(tmp_path):
    # The sanitizer wraps functions of the second, which must be there first.
    libraries = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    if not all(os.path.isabs(path) for path in libraries):
        pytest.skip("g++ has no libasan here")
    flags = "-fsanitize=address -fno-omit-frame-pointer"
    folders = ["--build-lib", str(tmp_path), "--build-temp", str(tmp_path / "temp")]
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--force", *folders],
        cwd=child.ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "CFLAGS": flags, "LDFLAGS": "-fsanitize=address"},
    )
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = tmp_path.rglob("_native*.so")
    for main in (MAIN, bfloat16_errors.MAIN):
        finished = child.run(
            SANITIZED.format(path=str(path)) + main,
            LD_PRELOAD=" ".join(libraries),
            ASAN_OPTIONS="detect_leaks=0",
        )
        assert "AddressSanitizer" not in finished.stderr, finished.stderr[:3000]
        assert child.printed(finished)["errors"]
