"""Tests the README's example of another Bazel workspace."""

import re
import shutil
import subprocess

import pytest

from clinometer.models.counting import counts

_SECTION = "## From another workspace\n"


def _files(readme: str) -> dict[str, str]:
    """Returns name -> text of the example's files."""
    section = readme.partition(_SECTION)[2]
    blocks = re.findall(r"`([\w.]+)`:\n\n```\w*\n(.*?)```", section, flags=re.DOTALL)
    return dict(blocks)


def test_the_example_is_whole(repo_root):
    readme = (repo_root / "tools/bazel/README.md").read_text(encoding="utf-8")
    assert set(_files(readme)) == {"WORKSPACE", ".bazelrc", "BUILD", "mine.py"}


@pytest.mark.slow
def test_the_example_runs(repo_root, tmp_path):
    if shutil.which("bazel") is None:
        pytest.skip("no bazel on PATH")
    if not (repo_root / ".bazel/machine.rc").is_file():
        pytest.skip("tools/bazel/setup.sh has not readied this checkout")
    readme = (repo_root / "tools/bazel/README.md").read_text(encoding="utf-8")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    for name, text in _files(readme).items():
        (workspace / name).write_text(text.replace("CHECKOUT", str(repo_root)))
    bazel = ["bazel", f"--output_user_root={tmp_path / 'bazel'}"]
    try:
        ran = subprocess.run(
            [*bazel, "run", "//:mine"], cwd=workspace, capture_output=True, text=True
        )
    finally:
        subprocess.run([*bazel, "shutdown"], cwd=workspace, capture_output=True)
        subprocess.run(["chmod", "-R", "u+w", tmp_path / "bazel"], check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert int(ran.stdout) == counts.count("transformer-base").params_total
