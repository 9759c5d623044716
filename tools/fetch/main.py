"""Implements `clinometer fetch`: gets the public releases of tasks and corpora."""

import argparse
from collections.abc import Sequence
import os
import pathlib
import sys

from clinometer.data import errors as data_errors
from clinometer.data import files
from clinometer.data.tasks import load
from clinometer.data.tasks import registry
from clinometer.kernels import terminal
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.fetch import fetching
from clinometer.tools.fetch import state as state_lib
from clinometer.tools.fetch import table
from clinometer.tools.fetch import transfer
from clinometer.train import errors
from clinometer.train import exit_codes

ALL = "all"
BY_HAND = 3
_LOCK = ".fetch.lock"
_SECONDS = 10.0  # Between two lines of progress without a terminal.
_MOST_SHARDS = 1024
_DESCRIPTION = f"""\
Gets the public releases that the readers of the downstream tasks expect, and C4, into a
folder for `--data DIR` of `finetune` and `evaluate`. Downloads go on where they were
interrupted, and are compared with known sums; sums that are not known are recorded in
DIR/{state_lib.NAME} at the first download. What has to be got by hand is said.
NAME is a task, a benchmark, c4, or {ALL} for all but c4. Examples:

  clinometer fetch --list
  clinometer fetch glue superglue squad --data data
  clinometer fetch c4 --shards 8 --data data
"""
_EXIT_CODES = exit_codes.described(
    {
        exit_codes.FAILED: "a file could not be fetched; the others were",
        BY_HAND: "done, but files have to be got by hand",
    }
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except (errors.RunError, data_errors.DataError, OptionError) as error:
        print(f"clinometer fetch: {error}", file=sys.stderr)
        return exit_codes.of_error(error)


def _run(arguments: argparse.Namespace) -> int:
    downloads = table.read(pathlib.Path(arguments.table))
    groups = _groups(downloads)
    folder = pathlib.Path(arguments.data)
    if arguments.list:
        if arguments.names:
            downloads = _chosen(arguments.names, downloads, groups)
        fetcher = fetching.Fetcher(folder, state_lib.read(folder))
        print("\n".join(_listed(downloads, groups, fetcher)))
        return exit_codes.DONE
    if not arguments.names:
        raise errors.ConfigError(f"NAME: missing; accepted: {_accepted(groups)}")
    chosen = _chosen(arguments.names, downloads, groups)
    outputs.check_folder("--data", folder)
    folder.mkdir(parents=True, exist_ok=True)
    with files.lock(str(folder / _LOCK), wait=False):
        return _fetch(folder, chosen, range(arguments.shards))


def _fetch(
    folder: pathlib.Path, chosen: Sequence[table.Download], shards: Sequence[int]
) -> int:
    """Fetches files, and says what could not be fetched; returns the exit code."""
    code = exit_codes.DONE
    with terminal.Line(seconds=_SECONDS) as line:
        fetcher = fetching.Fetcher(folder, state_lib.read(folder), line.say)
        for download in (one for row in chosen for one in row.sharded(shards)):
            try:
                fetcher.fetch(download)
            except fetching.ByHandError as error:
                line.note(f"{download.name}: by hand: {error}")
                code = code or BY_HAND
            except errors.RunError as error:
                line.note(f"{download.name}: failed: {error}")
                code = exit_codes.FAILED
            except OSError as error:
                raise errors.RunError(
                    f"{error.filename or folder}: {error.strerror}"
                ) from error
            else:
                line.note(f"{download.name}: {folder / download.path}")
    for name in dict.fromkeys(download.name for download in chosen):
        if name not in registry.names():
            continue
        try:
            for split in ("train", "validation"):
                load.find(registry.get(name), folder, split)
        except data_errors.DataError as error:
            print(f"{name}: not complete: {error}")
            code = code or exit_codes.FAILED
        else:
            print(f"{name}: ready")
    return code


def _groups(downloads: Sequence[table.Download]) -> dict[str, tuple[str, ...]]:
    """Returns the names of the rows by what the user may call them."""
    names = tuple(dict.fromkeys(download.name for download in downloads))
    found = {
        benchmark: tuple(task for task in tasks if task in names)
        for benchmark, tasks in registry.benchmarks().items()
    }
    everything = {one.name for one in downloads if table.SHARD not in one.url}
    found[ALL] = tuple(name for name in names if name in everything)
    return {name: members for name, members in found.items() if members} | {
        name: (name,) for name in names
    }


def _chosen(
    names: Sequence[str],
    downloads: Sequence[table.Download],
    groups: dict[str, tuple[str, ...]],
) -> list[table.Download]:
    """Returns the rows that names ask for; raises ConfigError for unknown names."""
    for name in names:
        if name not in groups:
            near = data_errors.nearest(name, groups)
            hint = f"; did you mean {near!r}?" if near else ""
            raise errors.ConfigError(
                f"NAME: got {data_errors.quoted(name)}{hint}; accepted: "
                f"{_accepted(groups)}"
            )
    wanted = {member for name in names for member in groups[name]}
    return [download for download in downloads if download.name in wanted]


def _accepted(groups: dict[str, tuple[str, ...]]) -> str:
    return ", ".join(sorted(groups))


def _listed(
    downloads: Sequence[table.Download],
    groups: dict[str, tuple[str, ...]],
    fetcher: fetching.Fetcher,
) -> list[str]:
    """Returns the lines of `--list`."""
    rows = []
    for one in downloads:
        partial = transfer.partial_path(fetcher.folder / one.path)
        if fetcher.is_there(one):
            state = "there"
        elif partial.exists():
            state = f"{partial.stat().st_size:,} bytes"
        else:
            state = "by hand" if one.by_hand else "-"
        size = "?" if one.bytes is None else f"{one.bytes:,}"
        rows.append((one.name, state, size, one.sha256 and "yes" or "no", one.url))
    benchmarks = [
        f"{name}: {' '.join(members)}"
        for name, members in groups.items()
        if name in registry.benchmarks() and members != (name,)
    ]
    head = ("name", "state", "bytes", "sum", "address")
    return [*terminal.table(rows, head, left=(0, 1, 3, 4)), "", *benchmarks]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer fetch",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="what to get")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=outputs.given_local,
        default="data",
        help="the folder of data (default: %(default)s)",
    )
    parser.add_argument(
        "--list",
        action="store_true",
        help="only list the files, and which of them are there",
    )
    parser.add_argument(
        "--shards",
        metavar="N",
        type=ranges.Whole(1, _MOST_SHARDS),
        default=1,
        help="c4: number of shards, of about 320 MB each (default: %(default)s)",
    )
    parser.add_argument(
        "--table",
        metavar="FILE",
        type=outputs.given_local,
        default=os.fspath(table.FILE),
        help="another table of addresses, sizes and sums, such as that of a mirror, "
        "with the columns of releases.csv (default: that of Clinometer)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
