"""Implements `clinometer status`: a table of a study's runs, which may be watched."""

import argparse
from collections.abc import Sequence
import pathlib
import shutil
import sys
import time

from clinometer.kernels import terminal
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.report import formats
from clinometer.tools.runs import folders
from clinometer.tools.runs import overview
from clinometer.tools.study import errors
from clinometer.train import exit_codes

_DESCRIPTION = """\
Shows how far the runs of a study are, from their directories alone: it may be called
while the study runs, after it, and on any machine that sees the folder.
"""
_EPILOG = f"""\
status: running; starting; silent, for more than a minute without a sign of life; lost,
if the process was killed; stopped, failed or diverged; waiting for its first start;
finished; unreadable. Runs that are not finished come first.

{exit_codes.described()}
"""
_WATCH_SECONDS = 2.0
_PLAIN_SECONDS = 20.0
_HEAD = ("run", "status", "step", "loss", "val. loss", "steps/s", "left", "tries", "on")
_LEFT_ALIGNED = (0, 1, 8)


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer status",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="DIR",
        type=outputs.given_local,
        help="folder of a study, or of runs, or a run directory",
    )
    parser.add_argument(
        "--watch",
        action="store_true",
        help="show it again and again until all runs are over, or Ctrl-C",
    )
    arguments = parser.parse_args(argv)
    root = pathlib.Path(arguments.folder)
    try:
        found = read(root)
        if arguments.watch:
            _watch(root)
        else:
            print("\n".join(render(found)))
    except (OptionError, errors.StudyError) as error:
        print(f"clinometer status: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    except KeyboardInterrupt:
        if not arguments.watch:
            raise
    return exit_codes.DONE


def read(root: pathlib.Path) -> dict[str, overview.Overview]:
    """Returns name -> how far it is, of all runs of a folder, started or planned.

    Args:
        root: the folder.

    Raises:
        OptionError: there is no such folder, or no run in it.
        StudyError: its study.json cannot be read.
    """
    runs = dict.fromkeys([*folders.find(root), *folders.planned(root)])
    if not runs:
        raise OptionError(
            f"{root}: no run found; accepted: the folder of a study, a folder with run "
            "directories, or a run directory"
        )
    return {folders.name(run, root): overview.of_run(run) for run in runs}


def render(found: dict[str, overview.Overview]) -> list[str]:
    """Returns the lines of the table and of the summary.

    Args:
        found: name -> how far it is.
    """
    order = {status: place for place, status in enumerate(overview.STATUSES)}
    listed = sorted(found.items(), key=lambda item: (order[item[1].status], item[0]))
    rows = [_row(name, one) for name, one in listed]
    lines = terminal.table(rows, _HEAD, left=_LEFT_ALIGNED)
    reasons = [f"{name}: {one.error}" for name, one in listed if one.error]
    return [*lines, *reasons, _summary([one for _, one in listed])]


def _watch(root: pathlib.Path) -> None:
    with terminal.Line(_PLAIN_SECONDS, sys.stdout) as line:
        while True:
            found = read(root)
            shown = render(found)
            if all(one.status in overview.OVER for one in found.values()):
                break
            if line.on_terminal:
                room = shutil.get_terminal_size().lines - 1
                line.draw(*(shown if len(shown) <= room else _cut(shown, room)))
            else:
                line.note("\n".join(shown))
            time.sleep(_WATCH_SECONDS if line.on_terminal else _PLAIN_SECONDS)
    print("\n".join(shown))


def _cut(lines: list[str], room: int) -> list[str]:
    """Returns as many lines as there is room for, with the last one, the summary."""
    kept = max(1, room - 2)
    return [*lines[:kept], f"... {len(lines) - 1 - kept} more lines", lines[-1]]


def _row(name: str, one: overview.Overview) -> tuple[str, ...]:
    steps = "–" if one.steps is None else f"{one.step}/{one.steps}"
    return (
        name,
        one.status,
        steps,
        formats.fixed(one.loss, 3),
        formats.fixed(one.validation_loss, 4),
        formats.significant(one.steps_per_second),
        formats.duration(one.seconds_left),
        str(one.tries or "–"),
        one.node or "",
    )


def _summary(found: Sequence[overview.Overview]) -> str:
    counts = {
        status: sum(one.status == status for one in found)
        for status in overview.STATUSES
    }
    listed = (f"{count} {status}" for status, count in counts.items() if count)
    return f"{len(found)} runs: {', '.join(listed)}"
