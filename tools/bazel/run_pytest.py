"""Runs a pytest file as a Bazel test, without its slow and matrix cases."""

import os
import sys

import pytest


class _Deselected:
    """A pytest plugin that counts the cases deselected by `-m`."""

    count = 0

    def pytest_deselected(self, items):
        """Called by pytest with the deselected cases."""
        self.count += len(items)


def main(argv: list[str]) -> int:
    """Runs the test file in `argv`; returns the exit code for Bazel.

    If no case is selected, this counts as success only if the file has slow or matrix
    cases.
    """
    root = os.path.dirname(os.path.abspath("pyproject.toml"))
    deselected = _Deselected()
    code = pytest.main(
        [
            "--rootdir",
            root,
            "-c",
            os.path.join(root, "pyproject.toml"),
            "-m",
            "not slow and not matrix",
            "--basetemp",
            os.path.join(os.environ["TEST_TMPDIR"], "pytest"),
            "--junit-xml",
            os.environ.get("XML_OUTPUT_FILE", os.devnull),
            *argv,
        ],
        plugins=[deselected],
    )
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and deselected.count:
        return 0
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
