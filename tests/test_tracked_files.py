"""Tests that tracked files contain no machine-specific paths and no package index."""

import re

import pytest

from clinometer.tests import tracked

FORBIDDEN = re.compile(
    r"(?<![\w.:/])/(?:work|home|opt|Users|mnt)/\w"  # Paths of one machine.
    r"|/tmp/(?!\{|\$)[\w.]+"
    r"|--(?:extra-)?index-url|--find-links|--trusted-host"
    r"|https?://[^\s\"']*(?:/simple\b|pythonhosted)"
)


def offences(text: str) -> list[str]:
    """Returns the matches of FORBIDDEN."""
    return FORBIDDEN.findall(text)


def test_no_machine_path_or_index_in_tracked_files(repo_root):
    found = []
    for name in tracked.names(repo_root):
        if name == "tests/test_tracked_files.py":
            continue
        content = (repo_root / name).read_bytes()
        if b"\0" not in content:
            text = content.decode("utf-8", errors="replace")
            found += [f"{name}: {match}" for match in offences(text)]
    assert found == []


@pytest.mark.parametrize(
    "text",
    [
        "see /work/x",
        'open("/home/me/a")',
        "cd /tmp/venv",
        "pip install --find-links x",
        "http://host:80/simple/jax",
    ],
)
def test_an_offence_is_seen(text):
    assert len(offences(text)) == 1


@pytest.mark.parametrize("text", ["a/work/x", "https://github.com/work/x", "/usr/bin"])
def test_others_are_left_alone(text):
    assert offences(text) == []
