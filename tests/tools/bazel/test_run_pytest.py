"""Tests of the program that runs a pytest file as a Bazel test."""

import os
import subprocess
import sys

import pytest

FAST = "def test_fast():\n    assert {outcome}\n"
SLOW = "import pytest\n\n@pytest.mark.slow\ndef test_slow():\n    assert {outcome}\n"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        (FAST.format(outcome=True), 0),
        (FAST.format(outcome=False), 1),
        (SLOW.format(outcome=False), 0),  # All slow: nothing to run is no failure.
        (SLOW.format(outcome=False) + FAST.format(outcome=True), 0),
        (SLOW.format(outcome=False) + FAST.format(outcome=False), 1),
        ("x = 1\n", 5),  # No case at all: a mistake.
        ("import surely_no_such_module\n", 2),
    ],
)
def test_exit_codes(source, code, tmp_path, repo_root):
    (tmp_path / "test_it.py").write_text(source)
    (tmp_path / "pyproject.toml").write_text(
        "[tool.pytest.ini_options]\nmarkers = ['slow: later']\n"
    )
    (tmp_path / "scratch").mkdir()
    result = subprocess.run(
        [sys.executable, repo_root / "tools/bazel/run_pytest.py", "test_it.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "TEST_TMPDIR": str(tmp_path / "scratch"),
            "XML_OUTPUT_FILE": str(tmp_path / "test.xml"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == code, result.stdout
    assert (tmp_path / "test.xml").is_file()
