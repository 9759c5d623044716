"""Parses the command line of `clinometer study`."""

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
        exit_codes.DONE: "all runs finished",
        exit_codes.FAILED: "a run failed or the study cannot start",
        exit_codes.STOPPED: "stopped after saving the runs",
    }
)


def parse(argv: list[str]) -> argparse.Namespace:
    """Returns the options; prints a message and exits if one is invalid."""
    parser = argparse.ArgumentParser(
        prog="clinometer study",
        description="Trains a list of runs (architecture x size x seed), measures and "
        "fine-tunes each, and writes OUT/runs.csv and OUT/report.html. Give the same "
        "command again to resume a study: finished runs are skipped, interrupted runs "
        "are resumed. Ctrl-C lets the runs save and stops; a second Ctrl-C kills them. "
        "By default the study trains the vanilla Transformer at four laptop sizes on "
        "the embedded corpus.",
        epilog=f"{_EXIT_CODES}. Lists are separated by blanks or commas.",
    )
    add = parser.add_argument
    add(
        "--out",
        type=_folder,
        default="runs/study",
        help="folder for the study (default: %(default)s)",
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
        help="sizes from small to large, with or without operators, e.g. "
        '"pico NL4-NA" (default: "%(default)s")',
    )
    add(
        "--seeds",
        type=ranges.listed(ranges.SEED),
        default="0",
        metavar="LIST",
        help='seeds to train every size with (default: "%(default)s")',
    )
    add(
        "--replicate",
        type=ranges.listed(ranges.SEED),
        default="1",
        metavar="LIST",
        help="additional seeds for the first size, to measure the spread between "
        'seeds; "" for none (default: "%(default)s")',
    )
    add(
        "--replicate-largest",
        action="store_true",
        help="also train the last size with these additional seeds",
    )
    add(
        "--jobs",
        type=ranges.Whole(1),
        default=min(2, cores.count()),
        metavar="N",
        help="number of runs at a time, each on its own core unless other studies use "
        "them all (default: 2, or 1 if there is only one CPU or the container's quota "
        "is one; here %(default)s)",
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
        help="peak learning rate of the schedule (warmup, constant, linear decay; "
        "default: %(default)s)",
    )
    add(
        "--store",
        type=_folder,
        metavar="DIR",
        help="token store to train on, from `clinometer tokenize` (default: the "
        "embedded corpus, tokenized into the cache on first use)",
    )
    add(
        "--downstream",
        default=protocol.DownstreamSettings.mixture,
        metavar="MIXTURE",
        help="tasks to fine-tune each run on after pretraining, in the form of "
        '`clinometer finetune --mixture`; "" for none (default: three probes generated '
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
        help="folder with the releases of the downstream tasks; not needed for probes",
    )
    add(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue with the other runs after one has failed (default: yes)",
    )
    add(
        "--dry-run",
        action="store_true",
        help="print the runs and their commands without starting them",
    )
    options = parser.parse_args(argv)
    if not options.dry_run:
        try:
            outputs.check_folder("--out", options.out)
        except OptionError as error:
            parser.error(str(error))
    return options


def _folder(text: str) -> pathlib.Path:
    # Made absolute because it is recorded and passed to other processes.
    return pathlib.Path(os.path.abspath(outputs.given(text)))


def _names(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,]+", text) if part]


def _architectures(text: str) -> list[str]:
    names = _names(text)
    return list(models.ARCHITECTURES) if names == ["all"] else names
