"""Parses the command line of `clinometer study`."""

import argparse
import os
import pathlib
import re
from typing import Any

from ml_collections import config_dict

from clinometer import models
from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.study import cores
from clinometer.tools.study import dry_run
from clinometer.tools.study import study_config
from clinometer.tools.study.configs import study as default
from clinometer.tools.study.engines import settings as engine_settings
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import exit_codes

_EXIT_CODES = exit_codes.described(
    {
        exit_codes.DONE: "all runs finished",
        exit_codes.FAILED: "a run failed or the study cannot start",
        exit_codes.STOPPED: "stopped after saving the runs",
    }
)


def parse(argv: list[str]) -> argparse.Namespace:
    """Returns the options; prints a message and exits if one is invalid.

    The values of the configuration are in `study`, see `study_config.Study`. Options
    that were given take precedence over `--config.KEY=VALUE`, and that over the file.
    """
    usual = default.get_config()
    parser = argparse.ArgumentParser(
        prog="clinometer study",
        usage="%(prog)s [options] [--config.KEY=VALUE ...]",
        description="Trains a list of runs (architecture x size x order of the data), "
        "measures and fine-tunes each, and writes OUT/runs.csv and OUT/report.html. "
        "Give the same command again to resume a study: finished runs are skipped, "
        "interrupted runs are resumed. Ctrl-C lets the runs save and stops; a second "
        "Ctrl-C kills them. "
        "By default the study trains the vanilla Transformer at four laptop sizes on "
        "the embedded corpus. Each run's learning rate is that of a table of tuned "
        "rates, or one for all with --learning-rate.",
        epilog=f"{_EXIT_CODES}. Lists are separated by blanks or commas. The defaults "
        "above are those of the default configuration.",
    )
    add = parser.add_argument
    add(
        "--config",
        type=outputs.given,
        default=default.__file__,
        metavar="FILE",
        help="configuration of the study, a Python file with a function get_config "
        "(default: tools/study/configs/study.py); --config.KEY=VALUE sets a field",
    )
    add(
        "--out",
        type=_folder,
        default="runs/study",
        help="folder for the study (default: %(default)s)",
    )
    add(
        "--archs",
        type=_architectures,
        metavar="LIST",
        help=f'architectures, or "all" (default: "{" ".join(usual.architectures)}")',
    )
    add(
        "--sizes",
        type=_names,
        metavar="LIST",
        help="sizes from small to large, with or without operators, e.g. "
        f'"pico NL4-NA" (default: "{" ".join(usual.sizes)}")',
    )
    add(
        "--orders",
        type=ranges.listed(ranges.Whole(1)),
        metavar="LIST",
        help="how many orders of the data to train in, one number for all sizes or one "
        "for each. Each run of a size has its own order and initialization, and all "
        f'sizes and architectures share the orders (default: "{usual.design.orders[0]}'
        '")',
    )
    add(
        "--seeds",
        type=ranges.listed(ranges.SEED),
        metavar="LIST",
        help="seeds to train every size with, in one order of the data, instead of "
        "--orders",
    )
    add(
        "--replicate",
        type=ranges.listed(ranges.SEED),
        metavar="LIST",
        help="with --seeds, additional seeds for the first size, to measure the spread "
        "between seeds",
    )
    add(
        "--replicate-largest",
        action="store_true",
        default=None,
        help="also train the last size with these additional seeds",
    )
    add(
        "--jobs",
        type=ranges.Whole(1),
        metavar="N",
        help="number of runs at a time, each on its own core unless other studies use "
        "them all (default: 2, or 1 if there is only one CPU or the container's quota "
        f"is one; here {_local_jobs()}); on a Ray cluster or in Slurm, the number of "
        "runs that are submitted at a time (default: all)",
    )
    add(
        "--executor",
        choices=engine_settings.NAMES,
        help="where to train the runs: on this machine, on a Ray cluster that runs, or "
        "as jobs of Slurm; the fields `executor` of the configuration say what a run "
        f"gets (default: {usual.executor.name})",
    )
    add(
        "--steps",
        type=ranges.Whole(1),
        metavar="N",
        help=f"training steps of each run (default: {usual.protocol.train_steps})",
    )
    add(
        "--learning-rate",
        type=ranges.Real(without_least=True),
        metavar="X",
        help="peak learning rate of all runs (default: each run's rate in the table of "
        "tuned rates). One rate for all sizes can double a difference between them, "
        "hide it or reverse it",
    )
    add(
        "--rates",
        type=_folder,
        metavar="FILE",
        help="table of tuned learning rates (default: OUT/rates.json, which --tune "
        "writes; without it, the one that is shipped)",
    )
    add(
        "--tune",
        action="store_true",
        help="measure the learning rates for these architectures, sizes and steps, "
        "add them to OUT/rates.json, or to the file of --rates, and stop",
    )
    add(
        "--power",
        action="store_true",
        help="simulate the study before it runs, print what it could detect, and stop; "
        "the assumptions are the fields `power` and design.margin of the configuration",
    )
    add(
        "--power-from",
        type=_folder,
        metavar="DIR",
        help="with --power, folder of a finished pilot study that the spread of runs, "
        "the curve and the margin are estimated from; a study's own folder gives the "
        "power that it reached (default: config.power.pilot)",
    )
    add(
        "--store",
        type=_store,
        metavar="DIR",
        help="token store to train on, from `clinometer tokenize` (default: the "
        "embedded corpus, tokenized into the cache on first use)",
    )
    add(
        "--downstream",
        metavar="MIXTURE",
        help="tasks to fine-tune each run on after pretraining, in the form of "
        '`clinometer finetune --mixture`; "" for none (default: a probe generated '
        f'from the embedded corpus, "{usual.downstream.mixture}")',
    )
    add(
        "--downstream-steps",
        type=ranges.Whole(1),
        metavar="N",
        help=f"steps of each fine-tuning (default: {usual.downstream.train_steps})",
    )
    add(
        "--data",
        type=_folder,
        metavar="DIR",
        help="folder with the releases of the downstream tasks; not needed for probes",
    )
    add(
        "--max-hours",
        type=ranges.Real(without_least=True),
        metavar="H",
        help="train pass by pass, let the runs save after H hours and stop; claims use "
        "the complete passes (default: no limit)",
    )
    add(
        "--records",
        type=_folder,
        metavar="DIR",
        help="folder that keeps the numbers of the study, such as one under version "
        "control: records of the runs that are over, without checkpoints, logs or "
        "paths. Records that DIR has and OUT lacks are restored first, so that the "
        "study continues on another machine",
    )
    add(
        "--keep-going",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="continue with the other runs after one has failed (default: yes)",
    )
    add(
        "--dry-run",
        nargs="?",
        choices=dry_run.FORMS,
        const=dry_run.TABLE,
        help="print a table of the runs with parameters and FLOPs, or their commands, "
        "without starting them",
    )
    add(
        "--topology",
        metavar="NAME",
        help="with --dry-run, a TPU topology such as v5e:2x2, for which `clinometer "
        "plan` estimates the hours of the runs; needs the TPU compiler "
        "(make setup-tpu)",
    )
    add(
        "--prices",
        type=outputs.given,
        metavar="FILE",
        help="with --topology, a TOML file of prices, see `clinometer plan --help`; "
        "adds the cost",
    )
    options, overrides = parser.parse_known_args(argv)
    try:
        strange = [word for word in overrides if not word.startswith("--config.")]
        if strange and not overrides[0].startswith("--config."):
            raise OptionError(f"unrecognized arguments: {' '.join(strange)}")
        if not (options.dry_run or options.power):
            outputs.check_folder("--out", options.out)
        options.study = _study(options, overrides)
        if options.jobs is None and options.study.engine.name == engine_settings.LOCAL:
            options.jobs = _local_jobs()
        _check_records(options)
        if options.tune and options.study.learning_rate is not None:
            raise OptionError("--tune: must not be given with --learning-rate")
        for name in ("tune", "power"):
            for other in ("dry_run", "max_hours"):
                if getattr(options, name) and getattr(options, other):
                    raise OptionError(
                        f"--{name}: must not be given with --{other.replace('_', '-')}"
                    )
        if options.tune and options.power:
            raise OptionError("--tune: must not be given with --power")
        if options.topology is not None and options.dry_run != dry_run.TABLE:
            raise OptionError("--topology: needs --dry-run")
        if options.prices is not None and options.topology is None:
            raise OptionError("--prices: needs --topology")
        if options.power_from is not None and not options.power:
            raise OptionError("--power-from: needs --power")
        if options.rates is not None and options.learning_rate is not None:
            raise OptionError("--rates: must not be given with --learning-rate")
    except (OptionError, errors.ConfigError) as error:
        parser.error(str(error))
    return options


def _local_jobs() -> int:
    return min(2, cores.count())


def _check_records(options: argparse.Namespace) -> None:
    if options.study.records is None:
        return
    if pathlib.Path(options.study.records).resolve() == options.out.resolve():
        raise OptionError(
            f"--records: must be another folder than --out, {options.out}"
        )
    if not options.dry_run:
        outputs.check_folder("--records", options.study.records)


def _study(options: argparse.Namespace, overrides: list[str]) -> study_config.Study:
    """Returns the study of the configuration, with the options that were given."""
    config = config_lib.load(options.config, overrides)
    study_config.check_names(config)
    values = config_lib.to_dict(config)
    by_seeds = options.orders is None and bool(options.seeds or options.replicate)
    given = {
        key: value
        for key, value in (
            ("architectures", options.archs),
            ("sizes", options.sizes),
            ("design.orders", () if by_seeds else options.orders),
            ("design.seeds", options.seeds),
            ("design.replicate", options.replicate),
            ("design.replicate_largest", options.replicate_largest),
            ("protocol.train_steps", options.steps),
            ("protocol.learning_rate", options.learning_rate),
            ("protocol.rates", options.rates),
            ("store", options.store),
            ("records", options.records),
            ("executor.name", options.executor),
            ("downstream.mixture", options.downstream),
            ("downstream.train_steps", options.downstream_steps),
            ("downstream.data", options.data),
            ("power.pilot", options.power_from),
        )
        if value is not None
    }
    for key, value in given.items():
        *groups, name = key.split(".")
        node = values[groups[0]] if groups else values
        node[name] = _plain(value)
    return study_config.read(config_dict.ConfigDict(values))


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return str(value) if isinstance(value, pathlib.Path) else value


def _folder(text: str) -> pathlib.Path:
    # Made absolute because it is recorded and passed to other processes.
    return pathlib.Path(os.path.abspath(outputs.given_local(text)))


def _store(text: str) -> str:
    try:
        return paths.absolute(outputs.given(text))
    except DataError as error:
        raise OptionError(str(error)) from error


def _names(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,]+", text) if part]


def _architectures(text: str) -> list[str]:
    names = _names(text)
    return list(models.ARCHITECTURES) if names == ["all"] else names
