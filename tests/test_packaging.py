"""The sdist and the wheel hold what they should, and the wheel works."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from clinometer.tests import source_tree

SHIPPED = ("options", "kernels", "models", "data", "train", "tools")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packages(repo_root, tmp_path_factory):
    """Builds both from a copy in which Bazel seems to have run: (sdist, wheel)."""
    folder = tmp_path_factory.mktemp("packages")
    copy = folder / "checkout"
    ignored = shutil.ignore_patterns(
        ".*", "bazel-*", "build", "dist", "runs", "*.egg-info", "__pycache__", "*.so"
    )
    shutil.copytree(repo_root, copy, ignore=ignored)
    (copy / "README.md").touch()
    (copy / "bazel-checkout").symlink_to(copy / "kernels")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist"],
        cwd=copy,
        check=True,
    )
    (sdist,) = (folder / "dist").glob("*.tar.gz")
    (wheel,) = (folder / "dist").glob("*.whl")
    return sdist, wheel


def python_sources(root: pathlib.Path) -> set[str]:
    """Returns every Python file that a user of the package needs."""
    return set(source_tree.python_files(root, SHIPPED))


def test_wheel_holds_the_package_and_no_more(packages, repo_root):
    with zipfile.ZipFile(packages[1]) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
    (extension,) = (n for n in names if n.endswith(".so"))
    assert extension.startswith("clinometer/kernels/cpu/_native.")
    python = {n.removeprefix("clinometer/") for n in names if n.endswith(".py")}
    assert python == python_sources(repo_root) | {"__init__.py"}
    assert "clinometer/train/configs/pretrain.py" in names
    assert "clinometer/py.typed" in names
    assert {n.split("/")[0] for n in names} == {"clinometer"}
    assert {n.split("/")[1] for n in names} == {*SHIPPED, "__init__.py", "py.typed"}


def test_sdist_holds_the_sources_and_no_more(packages, repo_root):
    with tarfile.open(packages[0]) as sdist:
        names = {n.partition("/")[2] for n in sdist.getnames()}
    assert python_sources(repo_root) <= names
    assert {"setup.py", "pyproject.toml", "kernels/cpu/module.cc", "LICENSE"} <= names
    folders = {n.split("/")[0] for n in names if "/" in n}
    assert folders == {*SHIPPED, "clinometer.egg-info"}


def test_wheel_works_from_elsewhere(packages, tmp_path):
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--target", target, packages[1]], check=True)
    code = (
        "import clinometer.models\n"
        "from clinometer.kernels.cpu import native\n"
        "print(clinometer.__file__)\n"
        "print(native.relative_position_bucket([12], bidirectional=True))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(target), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    # Encoder, one key 12 to the right: bucket 9 of the spec's list, plus 16.
    assert result.stdout.split() == [str(target / "clinometer/__init__.py"), "[25]"]
