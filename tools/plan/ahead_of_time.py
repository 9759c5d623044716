"""Compiles whole train steps ahead of time for TPUs, without running them.

`python -m clinometer.tools.plan.ahead_of_time transformer-base --topology v5e:4x4`
reports memory and kernel choices of the compiled step, with the Pallas kernels and with
the reference implementations. It needs libtpu (`pip install 'clinometer[tpu]'`), but no
TPU.
"""

import argparse
from collections.abc import Sequence
import dataclasses
import json
import os
import sys
import time
from typing import Any

import jax
from jax.experimental import topologies
import numpy as np

from clinometer import kernels
from clinometer import models
from clinometer.kernels.bench import environment
from clinometer.kernels.options import ranges
from clinometer.tools.plan import compiler
from clinometer.tools.plan import topologies as tpu_topologies
from clinometer.train import batch_options
from clinometer.train import exit_codes
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain


def compile_step(
    name: str,
    topology: str,
    implementation: str,
    *,
    batch_size: int,
    shape: models.Shape,
    head_parts: int = 1,
    **overrides: Any,
) -> dict[str, Any]:
    """Compiles a train step for all chips of a topology.

    The mesh has a "data" axis that divides the batch and a "model" axis, of size
    `head_parts`, that divides the heads. Parameters and the optimizer's state are
    replicated on all chips.

    Args:
        name: the model's name.
        topology: name of a chip, or one with a shape, such as "v5e:4x4".
        implementation: "auto" for the Pallas kernels, "reference" for plain jnp.
        batch_size: B, over all chips.
        shape: shape of an example, as the model takes it.
        head_parts: size of the "model" axis, a divisor of the number of chips.
        **overrides: fields of the model's config.

    Returns:
        A record. `hbm_*_bytes` and `pallas_calls` are for the program of one chip.
        `choices` are the implementations that were chosen, with the reasons why others
        were not.

    Raises:
        ModelNameError, ConfigError: as for `models.build`.
        ValueError: there is no such topology, or head_parts or the batch size does not
            divide evenly.
        RuntimeError: the compiler rejects the program.
    """
    _, topology = tpu_topologies.resolve(topology)
    devices = topologies.get_topology_desc(
        platform="tpu", topology_name=topology
    ).devices
    if head_parts < 1 or len(devices) % head_parts:
        raise ValueError(
            f"head_parts: must divide the {len(devices)} chips of {topology}, "
            f"got {head_parts}"
        )
    mesh = jax.sharding.Mesh(
        np.array(devices).reshape(-1, head_parts),
        ("data", "model"),
        axis_types=(jax.sharding.AxisType.Auto,) * 2,
    )
    model = models.build(name, **overrides, implementation=implementation)
    optimizer = optimizer_lib.make(pretrain.get_config().optimizer)
    step = state_lib.make_train_step(
        model, optimizer, lambda _: 0.01, seed=0, z_loss=1e-4
    )
    state = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, seed=0))
    batch = model.abstract_batch(batch_size, shape)
    whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    divided = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    start = time.perf_counter()
    with kernels.shard_over(mesh, batch="data", heads="model"):
        with kernels.target(devices[0].device_kind):
            choices = kernels.choices(step, state, batch, platform="tpu")
        lowered = jax.jit(
            step, in_shardings=(whole, divided), out_shardings=whole, donate_argnums=0
        ).lower(state, batch)
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    return {
        "model": model.name,
        "topology": topology,
        "device_kind": devices[0].device_kind,
        "implementation": implementation,
        "batch_size": batch_size,
        **dataclasses.asdict(shape),
        "head_parts": head_parts,
        "dtype": str(model.config.dtype),
        "hbm_temp_bytes": memory.temp_size_in_bytes,
        "hbm_argument_bytes": memory.argument_size_in_bytes,
        "pallas_calls": compiled.as_text().count('"tpu_custom_call"'),
        "choices": sorted({_choice_text(choice) for choice in choices}),
        "compile_seconds": time.perf_counter() - start,
        "versions": environment.versions(("jax", "jaxlib", "libtpu")),
    }


def _choice_text(choice: Any) -> str:
    reasons = "".join(f"; not {reason}" for reason in choice.passed_over)
    return f"{choice.op} ({choice.pass_name}): {choice.implementation}{reasons}"


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
        "--head-parts",
        type=ranges.Whole(1),
        default=1,
        help="number of chips to divide the heads over (default: %(default)s)",
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
                head_parts=arguments.head_parts,
                dtype="bfloat16",
                scan_layers=True,
            )
        except (ValueError, RuntimeError) as error:
            print(f"ahead_of_time: {implementation}: {error}", file=sys.stderr)
            refused = isinstance(error, ValueError)
            return exit_codes.USAGE if refused else exit_codes.FAILED
        records.append(record)
        out = sys.stderr if arguments.json else sys.stdout
        print(
            f"{record['model']} on {record['topology']}, {implementation}: "
            f"{record['hbm_temp_bytes'] / 2**20:,.1f} MiB of temporary HBM and "
            f"{record['hbm_argument_bytes'] / 2**20:,.1f} MiB of arguments per chip, "
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
