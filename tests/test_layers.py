"""Tests the layers: kernels <- models <- train <- tools; data imports no other."""

import ast
import functools
import graphlib
import pathlib
import subprocess
import sys

import pytest

from clinometer.tools.bazel import source_tree

# Folder -> folders that it may import.
ALLOWED = {
    "kernels": {"kernels"},
    "models": {"kernels", "models"},
    "data": {"data"},
    "train": {"kernels", "models", "data", "train"},
    "tools": {"kernels", "models", "data", "train", "tools"},
    "tests": set(source_tree.FOLDERS),
}
# Without zstandard, which jax imports if it is installed.
OPTIONAL = (
    "altair",
    "grain",
    "ml_collections",
    "optax",
    "orbax",
    "scipy.stats",
    "sentencepiece",
    "tensorboardX",
)


@functools.cache  # Parsing all files takes seconds.
def needed(root: pathlib.Path, name: str) -> frozenset[str]:
    """Returns the files that a file imports."""
    return frozenset(source_tree.imports(root, name).needed)


def violations(root) -> list[str]:
    """Returns the imports that violate the layers."""
    found = []
    for name in source_tree.python_files(root):
        for other in sorted(needed(root, name)):
            if other.split("/")[0] not in ALLOWED[name.split("/")[0]]:
                found.append(f"{name} imports {other}")
    return found


def cycle(root) -> list[str]:
    """Returns the files of an import cycle; empty if there is none."""
    needs = {}
    for name in source_tree.python_files(root):
        needs[name] = needed(root, name) - {name}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def bare_imports(root) -> list[str]:
    """Returns relative imports and imports of our folders without `clinometer.`."""
    found = []
    for name in source_tree.python_files(root):
        for node in ast.walk(ast.parse((root / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""] if node.level == 0 else [""]
            elif isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            else:
                continue
            for module in modules:
                if module.split(".")[0] in ("", *source_tree.FOLDERS):
                    found.append(f"{name}:{node.lineno}: import from clinometer")
    return found


def test_imports_go_one_way(repo_root):
    assert violations(repo_root) == []


def test_imports_make_no_circle(repo_root, tmp_path):
    assert cycle(repo_root) == []
    for folder in source_tree.FOLDERS:
        (tmp_path / folder).mkdir()
    (tmp_path / "train/a.py").write_text("from clinometer.train import b")
    (tmp_path / "train/b.py").write_text("def f():\n    import clinometer.train.a")
    assert set(cycle(tmp_path)) == {"train/a.py", "train/b.py"}


def test_imports_start_at_clinometer(repo_root):
    assert bare_imports(repo_root) == []


@pytest.mark.parametrize(
    ("name", "line", "check"),
    [
        ("kernels/a.py", "from clinometer.models import b", violations),
        ("data/a.py", "def f():\n    import clinometer.kernels.b", violations),
        ("models/a.py", "x = 'clinometer.train.b'", violations),
        ("tools/a.py", "from clinometer.tests import b", violations),
        ("models/a.py", "from . import b", bare_imports),
        ("train/a.py", "import models.b", bare_imports),
        ("tests/a.py", "from data import b", bare_imports),
    ],
)
def test_a_wrong_import_is_seen(tmp_path, name, line, check):
    for folder in source_tree.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "b.py").write_text("")
    assert check(tmp_path) == []
    (tmp_path / name).write_text(line)
    assert len(check(tmp_path)) == 1


@pytest.mark.parametrize("package", ["clinometer.models", "clinometer.kernels"])
def test_the_core_needs_no_optional_package(package):
    code = f"import sys, {package}\nprint(*sys.modules, sep='\\n')"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert package in loaded  # The list is not empty by mistake.
    assert sorted(set(loaded) & set(OPTIONAL)) == []


def test_data_needs_no_jax():
    code = "import sys, clinometer.data\nsys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
