"""Runs one pytest file as a Bazel test, without its slow and matrix cases."""

import os
import sys

import pytest


class _Deselected:
    """Counts the cases that `-m` deselected."""

    count = 0

    def pytest_deselected(self, items):
        """Called by pytest with the cases that are not to run."""
        self.count += len(items)


def main(argv: list[str]) -> int:
    """Runs the file named in `argv`; returns Bazel's exit code.

    An empty selection counts as success only if slow and matrix cases are all there is.
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
