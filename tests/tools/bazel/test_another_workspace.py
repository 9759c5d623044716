"""Tests the README's example of another Bazel workspace."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from clinometer.tests import outside

_SECTION = "## From another workspace\n"


def _files(repo_root) -> dict[str, str]:
    """Returns name -> text of the example's files."""
    readme = (repo_root / "tools/bazel/README.md").read_text(encoding="utf-8")
    section = readme.partition(_SECTION)[2]
    blocks = re.findall(r"`([\w.]+)`:\n\n```\w*\n(.*?)```", section, flags=re.DOTALL)
    return {**dict(blocks), "mine.py": outside.program(repo_root)}


def test_the_example_is_whole(repo_root):
    files = _files(repo_root)
    assert set(files) == {"WORKSPACE", ".bazelrc", "BUILD", "mine.py"}
    imported = set(re.findall(r"^from clinometer import (\w+)", files["mine.py"], re.M))
    assert imported == set(re.findall(r"@clinometer//(\w+)", files["BUILD"]))


@pytest.mark.slow
def test_the_example_trains(repo_root, tmp_path):
    if shutil.which("bazel") is None:
        pytest.skip("no bazel on PATH")
    checkout = outside.clone(repo_root, tmp_path / "checkout")
    ready = subprocess.run(
        [checkout / "tools/bazel/setup.sh"],
        env={**os.environ, "CLINOMETER_PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert ready.returncode == 0, ready.stderr
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name, text in _files(repo_root).items():
        (workspace / name).write_text(text.replace("CHECKOUT", str(checkout)))
    bazel = ["bazel", f"--output_user_root={tmp_path / 'bazel'}"]
    try:
        ran = subprocess.run(
            [*bazel, "run", "//:mine"], cwd=workspace, capture_output=True, text=True
        )
    finally:
        subprocess.run([*bazel, "shutdown"], cwd=workspace, capture_output=True)
        subprocess.run(["chmod", "-R", "u+w", tmp_path / "bazel"], check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    outside.check_printed(ran.stdout)
