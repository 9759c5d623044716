"""Lists the tracked files of the checkout."""

import pathlib
import subprocess

import pytest


def names(root: pathlib.Path) -> list[str]:
    """Returns the paths of existing tracked files, relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")  # A source archive: nothing is tracked.
    return [name for name in listed.stdout.split("\0") if (root / name).is_file()]
