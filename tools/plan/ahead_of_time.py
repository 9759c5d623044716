"""Compiles whole train steps ahead of time for TPUs, without running them.

`python -m clinometer.tools.plan.ahead_of_time transformer-base --topology v5e:4x4`
reports memory and kernel choices of the compiled step, with the Pallas kernels and with
the reference implementations. The step is that of training, divided over all chips by
the same partition rules. It needs libtpu (`pip install 'clinometer[tpu]'`), but no TPU.
"""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
import os
import re
import sys
import time
from typing import Any

import jax
from jax.experimental import topologies

from clinometer import kernels
from clinometer import models
from clinometer.kernels.bench import environment
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.plan import compiler
from clinometer.tools.plan import topologies as tpu_topologies
from clinometer.train import batch_options
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train import job as job_lib
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib

_COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
)
_KINDS = [(kind, re.compile(rf" {kind}(?:-start)?\(")) for kind in _COLLECTIVES]


def compile_step(
    name: str,
    topology: str,
    implementation: str,
    *,
    batch_size: int,
    shape: models.Shape,
    mesh: Mapping[str, int] | None = None,
    num_microbatches: int = 1,
    **overrides: Any,
) -> dict[str, Any]:
    """Compiles a train step for all chips of a topology.

    Args:
        name: the model's name.
        topology: name of a chip, or one with a shape, such as "v5e:4x4".
        implementation: "auto" for the Pallas kernels, "reference" for plain jnp.
        batch_size: B, over all chips.
        shape: shape of an example, as the model takes it.
        mesh: sizes of axes of the mesh; the others are the defaults of training.
        num_microbatches: number of microbatches.
        **overrides: fields of the model's config.

    Returns:
        A record. `hbm_*_bytes`, `pallas_calls` and `collectives` (number by kind) are
        for the program of one chip. `choices` are the implementations that were chosen,
        with the reasons why others were not.

    Raises:
        ModelNameError, ConfigError: as for `models.build`.
        RunError: the mesh does not fit the chips, the model or the batch.
        ValueError: there is no such topology.
        RuntimeError: the compiler rejects the program.
    """
    _, topology = tpu_topologies.resolve(topology)
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=topology
    ).devices
    model = models.build(name, **overrides, implementation=implementation)
    config = pretrain.get_config()
    config.mesh.update(mesh or {})
    config.data.batch_size = batch_size
    config.num_microbatches = num_microbatches
    optimizer = optimizer_lib.make(config.optimizer)
    placed = job_lib.place(config, model, optimizer, shape, devices)
    step = state_lib.make_train_step(
        model,
        optimizer,
        lambda _: 0.01,
        seed=0,
        z_loss=config.z_loss,
        num_microbatches=num_microbatches,
    )
    batch = placed.abstract_batch(model, shape)
    start = time.perf_counter()
    with mesh_lib.shard_over(placed.mesh), kernels.target(devices[0].device_kind):
        choices = kernels.choices(step, placed.state, batch, platform="tpu")
    compiled = placed.lower_train_step(step, batch).compile()
    memory = compiled.memory_analysis()
    text = compiled.as_text()
    return {
        "model": model.name,
        "topology": topology,
        "device_kind": devices[0].device_kind,
        "implementation": implementation,
        "batch_size": batch_size,
        **dataclasses.asdict(shape),
        "mesh": dataclasses.asdict(placed.sizes),
        "num_microbatches": num_microbatches,
        "dtype": str(model.config.dtype),
        "hbm_temp_bytes": memory.temp_size_in_bytes,
        "hbm_argument_bytes": memory.argument_size_in_bytes,
        "pallas_calls": text.count('"tpu_custom_call"'),
        "collectives": {kind: len(found.findall(text)) for kind, found in _KINDS},
        "choices": sorted({_choice_text(choice) for choice in choices}),
        "compile_seconds": time.perf_counter() - start,
        "versions": environment.versions(("jax", "jaxlib", "libtpu")),
    }


def _choice_text(choice: Any) -> str:
    reasons = "".join(f"; not {reason}" for reason in choice.passed_over)
    return f"{choice.op} ({choice.pass_name}): {choice.implementation}{reasons}"


def _field(text: str) -> tuple[str, Any]:
    """Parses --model-field; raises OptionError if it is wrong."""
    key, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"got {ranges.shown(text)}; accepted: KEY=VALUE")
    return key, ranges.literal(value)


def main(argv: Sequence[str]) -> int:
    """Compiles a model's train step both ways; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m clinometer.tools.plan.ahead_of_time",
        description="Compiles a whole train step (forward, backward and Adafactor's "
        "update, in bfloat16 with scanned layers) for TPUs, without a TPU: once with "
        "the Pallas kernels and once with the plain jnp implementations. Needs libtpu: "
        "pip install 'clinometer[tpu]'.",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="the model, such as transformer-base"
    )
    parser.add_argument(
        "--topology",
        default="v5e:4x4",
        help="a chip or topology (default: %(default)s)",
    )
    batch_options.add(parser)
    parser.add_argument(
        "--mesh",
        type=mesh_lib.parsed,
        default={},
        metavar="AXIS=N,...",
        help="sizes of axes of the mesh, such as model=8; the defaults are those of "
        "--config.mesh.* of `clinometer train`",
    )
    parser.add_argument(
        "--num-microbatches",
        type=ranges.Whole(1),
        default=1,
        help="number of microbatches (default: %(default)s)",
    )
    parser.add_argument(
        "--model-field",
        action="append",
        type=_field,
        default=[],
        metavar="KEY=VALUE",
        help="field of the model's config, such as remat=layer; may be repeated "
        "(default: dtype=bfloat16 scan_layers=true)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the records as a JSON list"
    )
    arguments = parser.parse_args(argv)
    try:
        compiler.libtpu_version()
    except ModuleNotFoundError:
        print(
            "ahead_of_time: libtpu is not installed; pip install 'clinometer[tpu]'",
            file=sys.stderr,
        )
        return exit_codes.FAILED
    os.environ.update(compiler.ENVIRONMENT)
    jax.config.update("jax_platforms", "cpu")  # JAX has already been imported.
    records = []
    for implementation in ("auto", "reference"):
        try:
            record = compile_step(
                arguments.model,
                arguments.topology,
                implementation,
                batch_size=arguments.batch_size,
                shape=models.TextShape(
                    arguments.encoder_length, arguments.decoder_length
                ),
                mesh=arguments.mesh,
                num_microbatches=arguments.num_microbatches,
                **{"dtype": "bfloat16", "scan_layers": True}
                | dict(arguments.model_field),
            )
        except (ValueError, RuntimeError, errors.RunError) as error:
            print(f"ahead_of_time: {implementation}: {error}", file=sys.stderr)
            refused = isinstance(error, ValueError | errors.RunError)
            return exit_codes.USAGE if refused else exit_codes.FAILED
        records.append(record)
        out = sys.stderr if arguments.json else sys.stdout
        print(
            f"{record['model']} on {record['topology']}, {implementation}: "
            f"{record['hbm_temp_bytes'] / 2**20:,.1f} MiB of temporary HBM and "
            f"{record['hbm_argument_bytes'] / 2**20:,.1f} MiB of arguments per chip, "
            f"mesh {mesh_lib.Sizes(**record['mesh'])}, "
            f"{record['pallas_calls']} Pallas calls, compiled in "
            f"{record['compile_seconds']:.0f} s",
            *record["choices"],
            sep="\n  ",
            file=out,
            flush=True,
        )
    if arguments.json:
        print(json.dumps(records, indent=2))
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
