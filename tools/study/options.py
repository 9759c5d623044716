"""The command line of `clinometer study`."""

import argparse
import os
import pathlib
import re

from clinometer import models
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.study import cores
from clinometer.tools.study import protocol
from clinometer.train import exit_codes

_EXIT_CODES = exit_codes.described(
    {
        exit_codes.DONE: "all finished",
        exit_codes.FAILED: "a run failed or the study cannot start",
        exit_codes.STOPPED: "stopped, runs saved",
    }
)


def parse(argv: list[str]) -> argparse.Namespace:
    """The options; exits with a message on a bad one, as argparse does."""
    parser = argparse.ArgumentParser(
        prog="clinometer study",
        description="Trains a list of runs (architecture x size x seed), measures and "
        "fine-tunes each, and writes OUT/runs.csv and OUT/report.html. Finished runs "
        "are skipped, interrupted ones continue: the same command carries on. Ctrl-C "
        "lets the runs save and stops; a second one kills them. Without options: the "
        "first study, the plain Transformer at four laptop sizes on the embedded "
        "corpus.",
        epilog=f"{_EXIT_CODES}. Lists are separated by blanks or commas.",
    )
    add = parser.add_argument
    add(
        "--out",
        type=_folder,
        default="runs/study",
        help="folder of the study (default: %(default)s)",
    )
    add(
        "--archs",
        type=_architectures,
        default="transformer",
        metavar="LIST",
        help='architectures, or "all" (default: "%(default)s")',
    )
    add(
        "--sizes",
        type=_names,
        default="pico nano micro milli",
        metavar="LIST",
        help='sizes from small to large, operators allowed, e.g. "pico NL4-NA" '
        '(default: "%(default)s")',
    )
    add(
        "--seeds",
        type=ranges.listed(ranges.SEED),
        default="0",
        metavar="LIST",
        help='seeds of every size (default: "%(default)s")',
    )
    add(
        "--replicate",
        type=ranges.listed(ranges.SEED),
        default="1",
        metavar="LIST",
        help='further seeds of the first size, for the spread between seeds; "" for '
        'none (default: "%(default)s")',
    )
    add(
        "--replicate-largest",
        action="store_true",
        help="give the last size these further seeds, too",
    )
    add(
        "--jobs",
        type=ranges.Whole(1),
        default=min(2, cores.count()),
        metavar="N",
        help="runs at a time, each on a core of its own where no other study holds it "
        "(default: 2, or 1 where there is one CPU or a container is allowed one; here "
        "%(default)s)",
    )
    add(
        "--steps",
        type=ranges.Whole(1),
        default=protocol.Protocol.train_steps,
        metavar="N",
        help="training steps of each run (default: %(default)s)",
    )
    add(
        "--learning-rate",
        type=ranges.Real(without_least=True),
        default=protocol.Protocol.learning_rate,
        metavar="X",
        help="peak of the schedule: warm-up, constant, linear decay "
        "(default: %(default)s)",
    )
    add(
        "--store",
        type=_folder,
        metavar="DIR",
        help="token store to train on, from `clinometer tokenize` (default: the "
        "embedded corpus, tokenised into the cache on first use)",
    )
    add(
        "--downstream",
        default=protocol.DownstreamSettings.mixture,
        metavar="MIXTURE",
        help="tasks that each run is fine-tuned on at its end, scored in the report; "
        'as `clinometer finetune --mixture`; "" for none (default: three probes made '
        'from the embedded corpus, "%(default)s")',
    )
    add(
        "--downstream-steps",
        type=ranges.Whole(1),
        default=protocol.DownstreamSettings.train_steps,
        metavar="N",
        help="steps of each fine-tuning (default: %(default)s)",
    )
    add(
        "--data",
        type=_folder,
        metavar="DIR",
        help="folder of the downstream tasks' releases; the probes need none",
    )
    add(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="after a failed run, carry on with the others (default: yes)",
    )
    add(
        "--dry-run",
        action="store_true",
        help="print the runs and their commands, and start nothing",
    )
    options = parser.parse_args(argv)
    if not options.dry_run:
        try:
            outputs.check_folder("--out", options.out)
        except OptionError as error:
            parser.error(str(error))
    return options


def _folder(text: str) -> pathlib.Path:
    # Absolute from here on: it is passed on, and recorded.
    return pathlib.Path(os.path.abspath(outputs.given(text)))


def _names(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,]+", text) if part]


def _architectures(text: str) -> list[str]:
    names = _names(text)
    return list(models.ARCHITECTURES) if names == ["all"] else names
