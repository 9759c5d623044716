"""Implements `clinometer compare`: the validation losses of two trained models."""

import argparse
import dataclasses
import json
import sys
from typing import Any

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.kernels import terminal
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.tools.inference import errors as inference_errors
from clinometer.tools.inference import paired_losses
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.run import directory as run_directory
from clinometer.train.run import validation_rows

_DESCRIPTION = """\
Compares the validation losses of two trained models on the same rows, by a paired
bootstrap of the rows' losses at the last evaluation (validation_rows.npz). Both runs
need the same validation rows; their models may differ.
"""
_EPILOG = f"""\
{paired_losses.SCOPE}
Use several seeds of each and `clinometer report` for that.

example:
  clinometer compare runs/study/runs/transformer-pico-o1-s100 \\
      runs/study/runs/transformer-milli-o1-s100

{exit_codes.described()}
"""


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        found = _found(arguments)
    except (errors.RunError, inference_errors.InferenceError, DataError) as error:
        print(f"clinometer compare: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    print(json.dumps(found, indent=1) if arguments.json else _text(found))
    return exit_codes.DONE


def _found(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what `--json` prints."""
    runs = [paths.parse(arguments.run), paths.parse(arguments.other)]
    if paths.resolved(runs[0]) == paths.resolved(runs[1]):
        raise errors.ConfigError(f"RUN and OTHER are the same run, {runs[0]}")
    read = [_rows(run) for run in runs]
    try:
        compared = paired_losses.compare(*read, resamples=arguments.resamples)
    except inference_errors.InferenceError as error:
        raise inference_errors.InferenceError(
            f"{runs[0]} and {runs[1]}: {error}"
        ) from error
    return {
        "runs": [str(run) for run in runs],
        "steps": [rows.step for rows in read],
        **dataclasses.asdict(compared),
        "scope": paired_losses.SCOPE,
    }


def _rows(path: paths.AnyPath) -> validation_rows.ValidationRows:
    """Returns the losses of a run; raises RunError if there are none."""
    directory = run_directory.RunDirectory(path)
    directory.record()  # Says whether this is a run directory.
    rows = directory.validation_rows()
    if rows is None:
        raise errors.RunError(
            f"{path} has no {validation_rows.FILE_NAME}: it has not been evaluated "
            "yet, or only by an earlier version, which did not keep the rows' losses"
        )
    return rows


def _text(found: dict[str, Any]) -> str:
    rows = [
        (run, f"{loss:.4f}", str(step))
        for run, loss, step in zip(found["runs"], found["losses"], found["steps"])
    ]
    low, high = found["interval"]
    return "\n".join(
        [
            *terminal.table(rows, ("run", "nats per token", "step")),
            f"difference {found['difference']:+.4f} nats per token, 95 % interval "
            f"{low:+.4f} to {high:+.4f} ({found['rows']:,} rows, "
            f"{found['resamples']:,} paired resamples)",
            found["scope"],
        ]
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer compare",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", type=outputs.given, help="run directory")
    parser.add_argument(
        "other",
        metavar="OTHER",
        type=outputs.given,
        help="run directory; its loss is subtracted from that of RUN",
    )
    parser.add_argument(
        "--resamples",
        type=ranges.Whole(100, 1_000_000),
        default=paired_losses.RESAMPLES,
        metavar="N",
        help="number of resamples of the rows (default: %(default)s)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of a table"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
