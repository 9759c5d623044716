"""What projects of others start from: a clean clone, and a program of tools/API.md."""

import json
import pathlib
import re
import subprocess

_HEADING = "### A project that trains\n"


def clone(repo_root: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Clones the last commit of the checkout; nothing else of the checkout is there."""
    command = ["git", "clone", "--quiet", "--no-hardlinks", repo_root, folder]
    subprocess.run(command, check=True)
    return folder


def program(repo_root: pathlib.Path) -> str:
    """Returns the program, which trains for three steps and prints the losses."""
    page = (repo_root / "tools/API.md").read_text(encoding="utf-8")
    section = page.partition(_HEADING)[2].partition("\n## ")[0]
    (code,) = re.findall("```python\n(.*?)```", section, re.DOTALL)
    return code


def check_printed(printed: str) -> None:
    """Asserts that three steps of training reduced the loss."""
    first, second, third = json.loads(printed)
    assert 6 > first > second > third > 2  # ln 64 = 4.2 for a uniform guess.
