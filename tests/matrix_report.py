"""A pytest plugin that writes the results of `make test-matrix` as a Markdown table.

Used as `pytest -p tests.matrix_report --matrix-report FILE -m matrix`. The table is to
be committed. Tests add their counts with pytest's `record_property`.
"""

import datetime
import pathlib
import platform
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_HEADER = """\
# Results of the matrix tests

Written by `make test-matrix` on {date} at commit {commit}, Python {python}, \
{passed} of {total} passed, {seconds:.0f} s of tests.

| test | outcome | seconds | counted |
|---|---|---|---|
"""


class _Report:
    """Collects the reports of test calls, and of failures in setup or teardown."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._reports: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Called by pytest after each phase of a test, also in xdist's controller."""
        if report.when == "call" or report.outcome != "passed":
            self._reports.append(report)

    def pytest_sessionfinish(self) -> None:
        """Writes the table, unless no test ran."""
        if not self._reports:
            return
        rows = sorted(self._reports, key=lambda report: report.nodeid)
        text = _HEADER.format(
            date=datetime.datetime.now(datetime.UTC).date(),
            commit=_commit(),
            python=platform.python_version(),
            passed=sum(report.outcome == "passed" for report in rows),
            total=len(rows),
            seconds=sum(report.duration for report in rows),
        )
        for report in rows:
            counted = "; ".join(f"{k}: {v}" for k, v in report.user_properties)
            text += (
                f"| {report.nodeid} | {report.outcome} | {report.duration:.0f} "
                f"| {counted} |\n"
            )
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self._path)


def _commit() -> str:
    """Returns the checkout's short revision, with "(changed)" if files differ."""
    command = ["git", "describe", "--always", "--dirty= (changed)"]
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds `--matrix-report`."""
    parser.addoption("--matrix-report", metavar="FILE", help="the table to write")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the report in the controller process, not in xdist's workers."""
    path = config.getoption("--matrix-report")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Report(pathlib.Path(path).resolve()))
