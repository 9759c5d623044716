"""The C++ kernels compile with Clang, for x86-64 and for processors that are not here.

The compiler is zig's, which `pip install ziglang` brings. What it makes for other
processors is never run.
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig

import jaxlib
import pybind11
import pytest


@pytest.fixture(scope="module")
def zig():
    """Returns the command of the compiler."""
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    pytest.skip("no ziglang; `pip install ziglang` brings it")


def compiled(zig, repo_root, cache, target, source):
    """Compiles without optimization; returns the finished process."""
    includes = [
        os.path.join(os.path.dirname(jaxlib.__file__), "include"),
        pybind11.get_include(),
        sysconfig.get_path("include"),
    ]
    command = [*zig, "-c", "-target", target, "-std=c++17", "-O0", "-fPIC", "-I."]
    command += [argument for path in includes for argument in ("-isystem", path)]
    return subprocess.run(
        [*command, source, "-o", cache / "object.o"],
        cwd=repo_root,
        env={**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "target", ["x86_64-linux-gnu.2.17", "aarch64-linux-gnu.2.17", "aarch64-macos"]
)
def test_every_source_compiles(zig, repo_root, tmp_path, target):
    sources = sorted((repo_root / "kernels/cpu").glob("*.cc"))
    assert len(sources) > 10
    for source in sources:
        done = compiled(zig, repo_root, tmp_path, target, source)
        assert done.returncode == 0, done.stderr[-3000:]
        assert "warning" not in done.stderr, done.stderr[-3000:]


@pytest.mark.slow
def test_what_does_not_compile_is_seen(zig, repo_root, tmp_path):
    source = tmp_path / "wrong.cc"
    source.write_text('#include "kernels/cpu/isa.h"\nint x = kNothing;\n')
    done = compiled(zig, repo_root, tmp_path, "aarch64-macos", source)
    assert done.returncode != 0
    assert "kNothing" in done.stderr
