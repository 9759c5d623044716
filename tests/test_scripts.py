"""Tests that the shell scripts work in their own checkout, even if CDPATH is set.

With `CDPATH`, `cd tools/..` may go to the `tools` of another folder. A script that then
recreates a virtual environment would delete somebody else's.
"""

import os
import pathlib
import shutil
import subprocess

import pytest

from clinometer.tests import tracked

# Script -> its arguments.
SCRIPTS = {
    ".ci/run": (),
    "tools/setup.sh": ("python3", ".venv"),
    "tools/lock.sh": (),
    "tools/wheels.sh": ("dist", "python3"),
    "tools/bazel/setup.sh": (),
}
# Replaces the first command of each script: records the working directory and fails.
STAND_IN = '#!/bin/sh\npwd >"$SEEN"\nexit 1\n'


def shell_scripts(root: pathlib.Path) -> set[str]:
    """Returns the shell scripts of the checkout, which it finds by their first line."""
    paths = tracked.names(root)
    return {p for p in paths if (root / p).read_bytes().startswith(b"#!/bin/bash")}


def test_every_script_is_tried(repo_root):
    assert shell_scripts(repo_root) == set(SCRIPTS)


@pytest.mark.parametrize("cdpath", ["{elsewhere}", ".:{elsewhere}", "{elsewhere}:"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_cdpath_leads_nowhere_else(script, cdpath, repo_root, tmp_path):
    here, elsewhere, commands = (
        tmp_path / name for name in ("my checkout", "elsewhere", "commands")
    )
    for folder in (here, elsewhere):  # `elsewhere` is a decoy with an environment.
        (folder / script).parent.mkdir(parents=True)
        shutil.copy(repo_root / script, folder / script)
    theirs = elsewhere / ".venv" / "precious"
    theirs.parent.mkdir()
    theirs.touch()
    commands.mkdir()
    for name in ("make", "python3", "bazel"):
        (commands / name).write_text(STAND_IN)
        (commands / name).chmod(0o755)
    seen = tmp_path / "seen"
    environment = {
        **os.environ,
        "PATH": f"{commands}:{os.environ['PATH']}",
        "CDPATH": cdpath.format(elsewhere=elsewhere),
        "CLINOMETER_PYTHON": str(commands / "python3"),
        "SEEN": str(seen),
    }
    subprocess.run(
        [script, *SCRIPTS[script]],
        cwd=here,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert seen.read_text().strip() == str(here)
    assert theirs.exists()
    assert sorted(path.name for path in elsewhere.iterdir()) == sorted(
        {".venv", script.split("/")[0]}
    )
