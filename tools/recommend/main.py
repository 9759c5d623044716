"""Implements `clinometer recommend`: which architecture to train for a budget."""

import argparse
import dataclasses
import sys

from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.tools.results import command
from clinometer.train import exit_codes
from clinometer.train.run import json_file

_DESCRIPTION = """\
Names the architectures that the runs of a folder cannot tell from the best one at a
budget of training FLOPs, parameters or time. Each loss is read between measured sizes;
a budget outside of the measured range is refused. The set holds the best of the
measured architectures with 95 % confidence. Times and speeds are those measured on the
runs' own device, and runs of several devices are refused.
"""
_BUDGETS = {
    "flops": "training FLOPs of the whole run, such as 1e15",
    "parameters": "parameters of the model, embeddings included, such as 2e6",
    "seconds": "seconds of the training steps of the whole run, such as 3600",
    "steps_per_second": "the speed that the training should have, such as 2.5",
}


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer recommend",
        description=_DESCRIPTION,
        epilog=exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        nargs="?",
        default=".",
        type=outputs.given,
        help="folder of runs or of imported results, or a CSV file (default: .)",
    )
    budget = parser.add_mutually_exclusive_group(required=True)
    for name, words in _BUDGETS.items():
        budget.add_argument(
            f"--{name.replace('_', '-')}",
            type=ranges.Real(without_least=True),
            help=f"the budget: {words}",
        )
    command.add_mixed(parser, "comma-separated columns in which the runs may differ")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(argv)
    return command.run("recommend", lambda: _recommend(options))


def _recommend(options: argparse.Namespace) -> None:
    # Imported here because they load pandas, which --help does not need.
    from clinometer.tools.recommend import choice
    from clinometer.tools.results import frame as frame_lib

    frame = frame_lib.read(options.path, options.mixed)
    cost = next(name for name in _BUDGETS if getattr(options, name) is not None)
    budget = float(getattr(options, cost))
    found = choice.recommend(frame, budget, options.mixed, cost)
    if options.json:
        print(json_file.dumps(dataclasses.asdict(found), indent=1))
    else:
        print("\n".join(render(found, choice.COSTS[cost].words)))


def render(found, words: str) -> list[str]:
    """Returns a `choice.Recommendation` as lines; `words` say what its budget is of."""
    width = max(len(one.architecture) for one in found.candidates)

    def line(one) -> str:
        behind = ""
        if one.low is not None:
            behind = f", {one.behind:+.4f} ({one.low:+.4f} to {one.high:+.4f})"
        elif one.behind:
            behind = f", {one.behind:+.4f}"
        return (
            f"  {one.architecture:<{width}}  {one.loss:.4f} nats{behind}; nearest "
            f"measured size {one.model}"
        )

    chosen, worse = found.chosen, [one for one in found.candidates if not one.in_set]
    several = len(chosen) > 1
    title = "choose any of these, which the data cannot tell from the best:"
    lines = [
        f"At {found.budget:g} {words}, {title if several else 'choose:'}",
        *map(line, chosen),
    ]
    if worse:
        lines += ["Worse than one of them, at 95 % for all pairs:", *map(line, worse)]
    if found.not_measured:
        lines.append("Not measured around this budget:")
        lines += [f"  {name}: {why}" for name, why in found.not_measured.items()]
    if found.reason and several:
        lines.append(f"Nothing can be told apart: {found.reason}.")
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
