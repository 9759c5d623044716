"""Tests that a child process ignores the working directory and the shell's settings."""

import os
import subprocess
import sys

import pytest

from clinometer.kernels import python_child
from clinometer.kernels.bench import environment


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """Returns a working directory with modules named like Python's own."""
    for name in ("random", "json", "types", "queue", "platform", "numpy", "jax"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(f'took {__file__}')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(command):
    result = subprocess.run(
        command,
        env=python_child.environment(os.environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize("entry", ["", "cwd"])
def test_the_working_directory_hides_nothing(hostile, monkeypatch, entry):
    # As `python -c` and `python -m` have it.
    entry = str(hostile) if entry == "cwd" else entry
    monkeypatch.setattr(sys, "path", [entry, *sys.path])
    code, out, err = _run(python_child.module("clinometer.tools.cli", "version"))
    assert (code, err) == (0, "")
    assert "jaxlib" in out
    script = hostile / "script.py"
    script.write_text(
        "import json, random; print(json.dumps(random.Random(0) is None))"
    )
    assert _run(python_child.script(str(script))) == (0, "false\n", "")


def test_a_folder_of_the_callers_choice_stays(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text("print('found')")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert _run(python_child.module("mine")) == (0, "found\n", "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYTHONWARNINGS", "error"),
        ("PYTHONINSPECT", "1"),
        ("PYTHONVERBOSE", "1"),
        ("PYTHONIOENCODING", "ascii"),
        ("PYTHONSTARTUP", "nowhere.py"),
    ],
)
def test_the_callers_settings_of_python_stay_behind(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    code = "import sys, warnings; warnings.warn('old'); print('\\u00e9'); sys.exit(7)"
    code, out, err = _run([*python_child.module("x")[:-2], "-c", code])
    assert (code, out) == (7, "\u00e9\n")
    assert err.count("\n") <= 2  # the warning itself


def test_a_hooks_repository_is_not_ours(repo_root, tmp_path, monkeypatch):
    expected = environment.git_revision(repo_root)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path))
    assert environment.git_revision(repo_root) == expected
