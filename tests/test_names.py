"""Tests that no file or folder has the name of a standard library module.

A program's own folder comes first on sys.path, so `import profile` in the standard
library would find `train/profile.py`.
"""

import pathlib
import sys

import pytest

from clinometer.tools.bazel import source_tree


def clashes(root: pathlib.Path) -> list[str]:
    """Returns the files with names of standard library modules in their paths."""
    found = []
    for name in source_tree.python_files(root):
        parts = pathlib.PurePosixPath(name).with_suffix("").parts
        if set(parts) & sys.stdlib_module_names:
            found.append(name)
    return found


def test_no_name_of_the_standard_library(repo_root):
    assert clashes(repo_root) == []


@pytest.mark.parametrize("name", ["train/profile.py", "data/queue/a.py"])
def test_a_clash_is_seen(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text("")
    assert clashes(tmp_path) == [name]
