"""Compares the times of `clinometer plan` with published speeds; writes the page.

`python -m clinometer.tools.plan.validation.main` writes VALIDATION.md from the stored
records.
"""

import argparse
from collections.abc import Sequence
import pathlib
import sys

from clinometer.kernels.options import outputs
from clinometer.tools.plan import step_cache
from clinometer.tools.plan.validation import page
from clinometer.tools.plan.validation import published
from clinometer.tools.plan.validation import records

PAGE = pathlib.Path(__file__).parents[1] / "VALIDATION.md"
_TIMEOUT_SECONDS = 7200
_ROWS = {"fitted": published.fitted, "new": published.new, "images": published.images}


def main(argv: Sequence[str]) -> int:
    """Writes the page, after compiling rows if asked to; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m clinometer.tools.plan.validation.main", description=__doc__
    )
    parser.add_argument(
        "--compile",
        choices=_ROWS,
        action="append",
        default=[],
        help="compile these rows' train steps and store what the compiler says; may be "
        "repeated",
    )
    args = parser.parse_args(argv)
    kept = {
        one.row.label: one for rows in _ROWS.values() for one in records.read(rows())
    }
    for name in args.compile:
        for row in _ROWS[name]():
            print(f"{row.label}: {row.model} for {row.topology}", flush=True)
            found = records.compiled(row, step_cache.folder(), _TIMEOUT_SECONDS)
            kept[row.label] = found
            records.write(list(kept.values()))
    outputs.write_text(PAGE, rendered())
    return 0


def rendered() -> str:
    """Returns the page, from the stored records."""
    groups = (published.fitted(), published.new(), published.images())
    return page.text(*map(records.read, groups))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
