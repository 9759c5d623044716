"""Deprecated names warn, are listed, and go when their time has come."""

import ast
import re
import subprocess
import sys

import pytest

import clinometer
from clinometer.tools.bazel import source_tree

_CODE = """
from clinometer.kernels.options import deprecation


def old(stacklevel=2):
    deprecation.warn("old", "new", goes_in="9.0.0", stacklevel=stacklevel)
"""


def _version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def _goes_in(root) -> list[tuple[str, str]]:
    """Returns (file, version) of every `goes_in` that is passed as a text."""
    found = []
    for name in source_tree.python_files(root, ("kernels", "models", "train", "tools")):
        for node in ast.walk(ast.parse((root / name).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                value = {x.arg: x.value for x in node.keywords}.get("goes_in")
                if isinstance(value, ast.Constant):
                    found.append((name, value.value))
    return found


def test_it_blames_the_caller_of_the_old_name():
    names: dict = {}
    exec(_CODE, names)
    with pytest.warns(DeprecationWarning, match=r"9\.0\.0; use new$") as caught:
        names["old"]()
    assert caught[0].filename == __file__


@pytest.mark.parametrize("show", [True, False])
def test_commands_show_a_line_that_python_would_hide(show, tmp_path):
    (tmp_path / "theirs.py").write_text(_CODE)
    more = "deprecation.show(); deprecation.show();" if show else ""
    code = (
        f"from clinometer.kernels.options import deprecation; {more}"
        "import theirs; theirs.old(1); theirs.old(1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    line = "WARNING old is deprecated and goes in version 9.0.0; use new\n"
    assert done.stderr == (line if show else "")


def test_what_is_deprecated_is_listed_and_has_not_gone(repo_root):
    changes = (repo_root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = _goes_in(repo_root)
    assert found
    for name, version in found:
        assert _version(version) > _version(clinometer.__version__), name
        assert re.search(rf"\b{re.escape(version)}\b", changes), (name, version)
