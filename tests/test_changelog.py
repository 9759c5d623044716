"""Tests that the version is set in one place and described in CHANGELOG.md."""

import importlib.metadata
import re
import tomllib

import clinometer

_NUMBER = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"


def versions(changelog: str) -> list[tuple[int, ...]]:
    """Returns the versions of the headings, the newest first."""
    found = re.findall(rf"^## {_NUMBER}(?: \(.+\))?$", changelog, re.MULTILINE)
    return [tuple(map(int, numbers)) for numbers in found]


def test_the_version_is_the_newest_of_the_changelog(repo_root):
    changelog = (repo_root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = versions(changelog)
    assert len(found) == changelog.count("\n## ")
    assert found == sorted(set(found), reverse=True)
    assert ".".join(map(str, found[0])) == clinometer.__version__


def test_headings_that_are_no_semantic_version_are_seen():
    assert versions("## 1.2.3\n## 0.10.0 (2026-01-31)\n") == [(1, 2, 3), (0, 10, 0)]
    assert versions("## 1.2\n## v1.2.3\n## 01.2.3\n## 1.2.3rc1\n") == []


def test_the_version_is_in_one_place(repo_root):
    text = (repo_root / "pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)
    assert "version" in project["project"]["dynamic"]
    attribute = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert attribute == "clinometer.__version__"
    assert importlib.metadata.version("clinometer") == clinometer.__version__
