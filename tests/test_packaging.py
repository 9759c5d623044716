"""Tests the contents of the sdist and the wheel, and that both work when installed."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from clinometer.tests import outside
from clinometer.tests.kernels import instruction_sets
from clinometer.tools.bazel import source_tree

SHIPPED = ("kernels", "models", "data", "train", "tools")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(repo_root, tmp_path_factory):
    """Returns a clean clone with a link as Bazel makes it."""
    folder = tmp_path_factory.mktemp("packages") / "checkout"
    outside.clone(repo_root, folder)
    (folder / "bazel-checkout").symlink_to(folder / "kernels")
    return folder


def build(checkout, output, *arguments: str, **variables: str):
    """Builds packages in this environment; returns the finished process."""
    return subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *arguments]
        + ["--outdir", output],
        cwd=checkout,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def packages(checkout):
    """Returns (sdist, wheel)."""
    dist = checkout.parent / "dist"
    done = build(checkout, dist, CLINOMETER_BUILD_KERNELS="1")
    assert done.returncode == 0, done.stderr[-3000:]
    (sdist,) = dist.glob("*.tar.gz")
    (wheel,) = dist.glob("*.whl")
    return sdist, wheel


def python_sources(root: pathlib.Path) -> set[str]:
    """Returns the Python files that users of the package need."""
    names = source_tree.python_files(root, SHIPPED)
    return {name for name in names if not name.startswith("tools/bazel/")}


def test_wheel_holds_the_package_and_no_more(packages, checkout):
    with zipfile.ZipFile(packages[1]) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    (extension,) = (n for n in names if n.endswith(".so"))
    assert extension.startswith("clinometer/kernels/cpu/_native.")
    python = {n.removeprefix("clinometer/") for n in names if n.endswith(".py")}
    assert python == python_sources(checkout) | {"__init__.py"}
    assert "clinometer/train/configs/pretrain.py" in names
    assert "clinometer/py.typed" in names
    assert "clinometer/tools/results/published.csv" in names
    assert {n.split("/")[0] for n in names} == {"clinometer"}
    assert {n.split("/")[1] for n in names} == {*SHIPPED, "__init__.py", "py.typed"}


def test_sdist_holds_the_sources_and_no_more(packages, checkout):
    with tarfile.open(packages[0]) as sdist:
        names = {n.partition("/")[2] for n in sdist.getnames()}
    assert python_sources(checkout) <= names
    assert {"setup.py", "pyproject.toml", "kernels/cpu/module.cc", "LICENSE"} <= names
    folders = {n.split("/")[0] for n in names if "/" in n}
    assert folders == {*SHIPPED, "clinometer.egg-info"}


def install(wheel, target):
    """Installs a wheel without its dependencies into a folder."""
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--target", target, wheel], check=True)


def check_works(wheel, tmp_path):
    """Installs a wheel and calls one of its C++ kernels."""
    target = tmp_path / "site"
    install(wheel, target)
    code = (
        "import clinometer.models\n"
        "import jax.numpy as jnp\n"
        "from clinometer import kernels\n"
        "from clinometer.kernels.cpu import native\n"
        "print(clinometer.__file__, native.active_isa())\n"
        "x, weights = jnp.array([[[1.0], [2.0]]]), jnp.array([[3.0, 5.0]])\n"
        "y = kernels.light_conv(x, weights, causal=True, implementation='cpu')\n"
        "print(y.tolist())"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    # The result of the C++ kernel: 5 * 1, and 3 * 1 + 5 * 2.
    at, printed = result.stdout.splitlines()
    assert at == f"{target / 'clinometer/__init__.py'} {instruction_sets.widest()}"
    assert printed == "[[[5.0], [13.0]]]"


def test_wheel_works_from_elsewhere(packages, tmp_path):
    check_works(packages[1], tmp_path)


def test_wheels_for_other_machines_need_an_old_glibc_only(checkout, tmp_path):
    built = subprocess.run(
        ["tools/wheels.sh", tmp_path / "dist", sys.executable],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    if "Could not find a version" in built.stderr:
        pytest.skip("no package index can be reached")
    assert built.returncode == 0, built.stderr[-3000:]
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    assert built.stdout.splitlines()[-1] == str(wheel)
    tag = re.search(r"-manylinux_2_(\d+)_x86_64\.whl$", wheel.name)
    assert tag and int(tag.group(1)) <= 27  # That of jaxlib.
    with zipfile.ZipFile(wheel) as opened:
        libraries = [name for name in opened.namelist() if ".so" in name]
        (extension,) = map(opened.read, libraries)
    assert b"libstdc++.so" not in extension and b"libc++.so" not in extension
    check_works(wheel, tmp_path)


def test_a_project_trains_with_the_wheel(packages, checkout, tmp_path):
    install(packages[1], tmp_path / "site")
    (tmp_path / "mine.py").write_text(outside.program(checkout), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-P", "mine.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    outside.check_printed(result.stdout)
    assert result.stderr == ""  # Else it says that kernels take their jnp forms.


_WITHOUT_COMPILER = {"CC": "/bin/false", "CXX": "/bin/false"}


@pytest.mark.parametrize("why", [_WITHOUT_COMPILER, {"CLINOMETER_BUILD_KERNELS": "0"}])
def test_without_a_compiler_kernels_take_their_jnp_forms(checkout, tmp_path, why):
    """The package of any platform, whose kernels say once what they miss."""
    built = build(checkout, tmp_path, "--wheel", **why)
    assert built.returncode == 0, built.stderr[-3000:]
    assert ("WARNING: built without the C++ kernels" in built.stderr) == ("CXX" in why)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    install(wheel, tmp_path / "site")
    code = (
        "import jax, jax.numpy as jnp\n"
        "from clinometer import kernels\n"
        "x, weights = jnp.array([[[1.0], [2.0]]]), jnp.array([[3.0, 5.0]])\n"
        "run = lambda **more: kernels.light_conv(x, weights, causal=True, **more)\n"
        "print(run().tolist(), jax.grad(lambda x: run().sum())(x).shape)\n"
        "try:\n"
        "    run(implementation='cpu')\n"
        "except kernels.NotSupportedError as error:\n"
        "    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site"), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    printed, error = result.stdout.splitlines()
    assert printed == "[[[5.0], [13.0]]] (1, 2, 1)"
    assert "cpu: clinometer's C++ extension" in error
    (line,) = result.stderr.splitlines()
    assert "jnp forms instead of the C++ kernels" in line


@pytest.mark.parametrize(
    ("switch", "words"), [("1", "/bin/false"), ("yes", "accepted: 0, 1 or nothing")]
)
def test_a_missing_compiler_can_be_an_error(checkout, tmp_path, switch, words):
    more = {**_WITHOUT_COMPILER, "CLINOMETER_BUILD_KERNELS": switch}
    built = build(checkout, tmp_path, "--wheel", **more)
    assert built.returncode != 0
    assert words in built.stdout + built.stderr
    assert list(tmp_path.glob("*.whl")) == []


def interpreter(version: str) -> str:
    """Returns a Python of a version, from PATH or pyenv, or skips the test."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    found = [shutil.which(f"python{version}")]
    found += sorted(map(str, pyenv.glob(f"versions/{version}.*/bin/python")))
    code = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    for path in filter(None, found):
        # pyenv's shims exist even for versions that are not installed.
        said = subprocess.run([path, "-c", code], capture_output=True, text=True)
        if said.stdout.strip() == version:
            return path
    pytest.skip(f"no Python {version}: looked on the PATH and in {pyenv}/versions")


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_the_sdist_gives_working_kernels(packages, checkout, tmp_path, version):
    """As for users: pip builds a wheel in an isolated environment."""
    python = interpreter(version)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    environment |= {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    subprocess.run(
        [python, "-m", "venv", tmp_path / "venv"], check=True, env=environment
    )
    folder = tmp_path / "empty"
    folder.mkdir()

    def run(name: str, *arguments: str | pathlib.Path):
        return subprocess.run(
            [tmp_path / "venv/bin" / name, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )

    installed = run("python", "-m", "pip", "install", "--quiet", packages[0])
    if "Failed to establish a new connection" in installed.stderr:
        pytest.skip("no package index can be reached")
    assert installed.returncode == 0, installed.stderr[-3000:]
    bench = run("clinometer", "bench", "--quick", "--rounds", "2", "--json")
    assert bench.returncode == 0, bench.stderr[-3000:]
    records = json.loads(bench.stdout)
    ours = {record["op"] for record in records if record["implementation"] == "cpu"}
    assert ours == {record["op"] for record in records}
    assert all(record["versions"]["python"].startswith(version) for record in records)
    assert "jnp forms instead" not in bench.stderr
    assert list(folder.iterdir()) == []
    (folder / "mine.py").write_text(outside.program(checkout), encoding="utf-8")
    trained = run("python", "mine.py")
    assert trained.returncode == 0, trained.stderr[-3000:]
    outside.check_printed(trained.stdout)
