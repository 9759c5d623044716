"""Command-line arguments for using a trained run and for making predictions."""

import argparse
from collections.abc import Iterable
import dataclasses
from typing import Any

from clinometer.train import fields
from clinometer.train.downstream import options as options_lib
from clinometer.train.run import record as run_record
from clinometer.train.sharding import mesh as mesh_lib


def add_run(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments RUN, --store and --mesh.

    Args:
        parser: the parser of the command.
    """
    parser.add_argument("run", metavar="RUN", help="run directory")
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="token store of the run; needed only if it was moved without the run",
    )
    add_mesh(parser)


def add_mesh(parser: argparse.ArgumentParser) -> None:
    """Adds the argument --mesh.

    Args:
        parser: the parser of the command.
    """
    parser.add_argument(
        "--mesh",
        type=mesh_lib.parsed,
        default={},
        metavar="AXIS=N,...",
        help="sizes of axes of the mesh of devices (see --config.mesh.* of `clinometer "
        "train`), such as model=4; default that of the run, if it had as many devices",
    )


def add_predictions(
    parser: argparse.ArgumentParser,
    methods: Iterable[str],
    names: Iterable[str],
    meaning: str,
) -> None:
    """Adds the options of decoding; those not given stay absent from the parsed ones.

    Args:
        parser: the parser of the command.
        methods: the accepted methods of decoding.
        names: names of other fields of `PredictionOptions` with a range.
        meaning: what --decoding is for.
    """
    defaults = options_lib.PredictionOptions()
    parser.add_argument(
        "--decoding",
        choices=tuple(methods),
        default=argparse.SUPPRESS,
        help=f"{meaning} Default: {defaults.decoding}.",
    )
    for name in names:
        accepted, value = options_lib.RANGES[name], getattr(defaults, name)
        default = "all" if value is None else value
        parser.add_argument(
            flag(name),
            type=accepted,
            default=argparse.SUPPRESS,
            help=f"{meaning_of(name)} Accepts {accepted}. Default: {default}.",
        )


def meaning_of(name: str) -> str:
    """Returns the description of a field of `PredictionOptions`."""
    return fields.known({"kind": run_record.FINETUNING})[f"eval.{name}"].meaning


def flag(name: str) -> str:
    """Returns the argument of a field, such as "--beam-size"."""
    return f"--{name.replace('_', '-')}"


def given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of `PredictionOptions` that the parsed arguments have."""
    names = [field.name for field in dataclasses.fields(options_lib.PredictionOptions)]
    return {n: getattr(arguments, n) for n in names if hasattr(arguments, n)}
