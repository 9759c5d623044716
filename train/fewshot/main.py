"""Command `clinometer fewshot`, also `python -m clinometer.train.fewshot.main`."""

import argparse
from collections.abc import Sequence
import sys

from clinometer.data import paths
from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.downstream import arguments as run_arguments
from clinometer.train.downstream import evaluation as recording
from clinometer.train.fewshot import evaluation
from clinometer.train.fewshot import ridge
from clinometer.train.host import library_noise
from clinometer.train.run import json_file

_DESCRIPTION = """\
Scores the features of a model of images by few-shot linear classification: a ridge
regression on some images of each class, for three draws. It prints the accuracies, and
adds them to the evaluations in the run's record. Example:

  clinometer fewshot runs/vit --data imagenet

The images are drawn from train/ and classified in validation/, if the folder has both;
else a share of the images is classified.
"""
_EXIT_CODES = exit_codes.described({exit_codes.DONE: "scored"})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="clinometer fewshot",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="run directory")
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="folder of labelled images (data/README.md), or digits",
    )
    parser.add_argument(
        "--classes",
        type=_names,
        default=(),
        help="comma-separated names of the classes to use; default all",
    )
    parser.add_argument(
        "--shots",
        type=_numbers,
        default=ridge.SHOTS,
        help="comma-separated numbers of images of each class; default "
        + ",".join(map(str, ridge.SHOTS)),
    )
    parser.add_argument(
        "--seeds",
        type=_numbers,
        default=ridge.SEEDS,
        help="comma-separated seeds of the draws; default "
        + ",".join(map(str, ridge.SEEDS)),
    )
    parser.add_argument(
        "--l2",
        type=ranges.Real(without_least=True),
        default=ridge.L2,
        help="weight of the penalty; default %(default)g",
    )
    parser.add_argument(
        "--test-share",
        type=ranges.Real(0, 1, without_least=True, without_most=True),
        default=0.5,
        help="share of the images that is classified, where there are no folders "
        "train/ and validation/; default %(default)g",
    )
    parser.add_argument(
        "--pool",
        type=ranges.Whole(1),
        help="number of images of train/ to draw from, such as 65000 for ImageNet; "
        "default all",
    )
    parser.add_argument(
        "--step",
        type=ranges.Whole(),
        help="step of the checkpoint; default the newest; 0 takes the initial "
        "parameters, drawn anew, and is recorded as random features",
    )
    parser.add_argument(
        "--controls",
        action="store_true",
        help="also score the features of the initial parameters, and the features with "
        "the labels of the drawn images shuffled, which is chance",
    )
    parser.add_argument(
        "--batch-size",
        type=ranges.Whole(1, 1 << 16),
        default=64,
        help="images per batch; default %(default)s",
    )
    run_arguments.add_mesh(parser)
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    arguments = parser.parse_args(argv)
    library_noise.log_warnings()
    try:
        devices.check()
        request = evaluation.Request(
            paths.resolved(arguments.run),
            arguments.data,
            tuple(arguments.classes),
            tuple(arguments.shots),
            tuple(arguments.seeds),
            arguments.l2,
            arguments.test_share,
            arguments.pool,
            arguments.step,
            arguments.controls,
            arguments.batch_size,
            arguments.mesh,
        )
        with terminal.Line(seconds=float("inf")) as line:  # Only on a terminal.
            found = evaluation.evaluate(request, line.say)
    except (errors.RunError, OptionError) as error:
        print(f"clinometer fewshot: {error}", file=sys.stderr)
        return exit_codes.FAILED
    except KeyboardInterrupt:
        return exit_codes.STOPPED
    if arguments.json:
        print(json_file.dumps([one.to_json() for one in found], indent=1))
    else:
        print(evaluation.render(found))
    try:
        recording.record(request.run, *found)
    except errors.RunHeldError as error:
        print(f"clinometer fewshot: {error}", file=sys.stderr)
        return exit_codes.HELD
    return exit_codes.DONE


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    parts = _names(text)
    if not parts or not all(part.isdecimal() for part in parts):
        raise OptionError(f"got {text!r}, accepted: whole numbers, such as 1,5,10")
    return [int(part) for part in parts]


if __name__ == "__main__":
    sys.exit(main())
