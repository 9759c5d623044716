"""Tests that the BUILD files are up to date with the imports of the sources."""

import pytest

from clinometer.tools.bazel import build_files


def test_targets_and_imports_agree(repo_root):
    changes = build_files.plan(repo_root)
    if changes.texts:
        diff = build_files.difference(repo_root, changes)
        pytest.fail(f"run `make build-files`; it would write:\n{diff}", pytrace=False)
    assert changes.warnings == []
