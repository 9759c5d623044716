"""Implements `clinometer verify`: a run beside the scores published for its model."""

import argparse
import sys

from clinometer.kernels import terminal
from clinometer.kernels.options import outputs
from clinometer.tools.results import command
from clinometer.tools.verify import tolerances
from clinometer.train import exit_codes
from clinometer.train.run import json_file

_DESCRIPTION = """\
Compares the validation loss and the downstream scores of a run with those that Tay et
al. 2021 published for a model (Tables 3, 4 and 6). It says for each score whether the
difference is within a tolerance, and which conditions of the run differ from the
published protocol. The losses compare only if the text is English C4, which is not
checked. It was tried on synthetic runs, not on runs of these sizes.
"""
_CODES = exit_codes.described(
    {
        exit_codes.DONE: "all scores that both have agree",
        exit_codes.FAILED: "a score is out of tolerance, or the run cannot be read",
    }
)


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    options = _parser().parse_args(argv)
    agrees = []
    code = command.run("verify", lambda: agrees.append(_verify(options)))
    if code == exit_codes.DONE and not agrees[0]:
        return exit_codes.FAILED
    return code


def _verify(options: argparse.Namespace) -> bool:
    """Prints the comparison; returns whether the scores agree."""
    # Imported here because they load pandas, which --help does not need.
    from clinometer.tools.results import errors
    from clinometer.tools.results import frame as frame_lib
    from clinometer.tools.results import table
    from clinometer.tools.verify import comparison
    from clinometer.tools.verify import references

    against = references.get(options.against)
    rows = table.to_records(frame_lib.read(options.run))
    if len(rows) != 1:
        raise errors.ResultsError(
            f"{options.run} has {len(rows)} runs; accepted: the directory of one run, "
            "or a CSV file with one row"
        )
    found = comparison.compare(rows[0], against)
    if options.json:
        print(json_file.dumps(found.to_json(), indent=1))
    else:
        print("\n".join(render(found)))
    return found.agrees


def render(found) -> list[str]:
    """Returns a `comparison.Comparison` as lines."""
    words = {True: "within", False: "OUTSIDE", None: "missing"}
    body = []
    for one in found.scores:
        is_loss = one.name == tolerances.LOSS
        digits = 3 if is_loss else 2
        body.append(
            (
                "loss, nats" if is_loss else one.name,
                f"{one.published:.{digits}f}",
                "-" if one.run is None else f"{one.run:.{digits}f}",
                "-" if one.run is None else f"{one.difference:+.{digits}f}",
                f"{one.tolerance.value:.{digits}f}",
                words[one.within],
            )
        )
    lines = [
        f"{found.run} against {found.against.name} ({found.against.model}; "
        f"{'; '.join(found.against.sources)})",
        *terminal.table(
            body, ("score", "published", "run", "difference", "tolerance", "")
        ),
    ]
    for one in found.conditions:
        if not one.same:
            run = "unknown" if one.run is None else _shown(one.run)
            lines.append(
                f"differs in {one.name}: {run}, published {_shown(one.published)}"
            )
    compared = len(found.scores) - len(found.missing)
    outside = sum(one.within is False for one in found.scores)
    lines.append(
        f"{compared - outside} of {compared} scores agree"
        + (f"; not measured: {', '.join(found.missing)}" if found.missing else "")
    )
    return lines


def _shown(value) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value)


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {line}" for line in tolerances.table())
    parser = argparse.ArgumentParser(
        prog="clinometer verify",
        description=_DESCRIPTION,
        epilog=f"tolerances:\n{listed}\n\n{_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", metavar="RUN", type=outputs.given, help="directory of a run"
    )
    parser.add_argument(
        "--against",
        required=True,
        metavar="NAME",
        help="the published model, such as t5-base or t5-small-24l",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
