"""Settings and fixtures of all tests."""

from collections.abc import Iterator
import itertools
import os
import pathlib
import sys
import tempfile

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent

# Set before jax is imported. Tests run in parallel (pytest -n 2), so each process uses
# one thread, and caches are in a folder of this session. Most of the time goes to XLA's
# compilation, which takes a third less with these optimizations disabled, and half of
# the rest without the emitters of fusions.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_use_fusion_emitters=false",
)
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
_tests_done = itertools.count(1)
_cache = tempfile.TemporaryDirectory(prefix="clinometer-tests-")
os.environ["XDG_CACHE_HOME"] = _cache.name
# Compiled programs, which all processes of a session share: those of pytest -n inherit
# the variable.
os.environ.setdefault(
    "CLINOMETER_TEST_PROGRAMS", os.path.join(_cache.name, "compiled-programs")
)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the markers for plain `pytest` calls and for Bazel alike."""
    for name in ("slow", "matrix"):
        config.addinivalue_line("markers", f"{name}: runs in `make test-{name}` only")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Deletes the session's cache folder."""
    del config
    _cache.cleanup()


@pytest.fixture(autouse=True)
def _strict_rank_promotion() -> Iterator[None]:
    """Disables implicit rank promotion, if a test uses jax."""
    jax = sys.modules.get("jax")  # None if the test module doesn't import it.
    if jax is None:
        yield
        return
    with jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(autouse=True)
def _room_for_programs() -> Iterator[None]:
    """Clears compiled programs before the process exceeds the limit of memory maps."""
    yield
    maps, jax = pathlib.Path("/proc/self/maps"), sys.modules.get("jax")
    if next(_tests_done) % 16 or jax is None or not maps.exists():
        return
    # A program has about 20 maps. Beyond Linux's limit of 65,530 the compiler crashes.
    if maps.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


@pytest.fixture
def objects(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """Makes `s3://` and `gs://` an empty stand-in; returns the folder of its objects.

    Child processes call `object_store.register(os.environ[object_store.FOLDER])`.
    """
    from clinometer.tests import object_store

    folder = tmp_path_factory.mktemp("objects")
    monkeypatch.setenv(object_store.FOLDER, str(folder))
    object_store.register(folder)
    return folder


@pytest.fixture(scope="session")
def shared_dir() -> pathlib.Path:
    """Returns the folder `shared` next to the checkout, or skips the test."""
    named = os.environ.get("CLINOMETER_SHARED")
    path = pathlib.Path(named) if named else _ROOT.parent / "shared"
    if not path.is_dir():
        pytest.skip(f"needs the folder {path} (set CLINOMETER_SHARED to another place)")
    return path


@pytest.fixture(scope="session")
def repo_root() -> pathlib.Path:
    """Returns the checkout's root, which is the source tree under Bazel as well."""
    return _ROOT
