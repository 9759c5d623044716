"""Times whole train steps with and without the optimised kernels.

Run as `python -m clinometer.train.benchmark`. A step is the forward pass, the backward
pass and the Adafactor update on random tokens. The implementations alternate in one
process; the ratio of their times is the speedup that the kernels give in a run.
"""

import argparse
from collections.abc import Sequence
import dataclasses
import functools
import json
import sys
from typing import Any

import jax
import numpy as np

from clinometer import models
from clinometer.kernels.bench import environment
from clinometer.kernels.bench import matmul_rate
from clinometer.kernels.bench import timer
from clinometer.kernels.options import ranges
from clinometer.train import batch_options
from clinometer.train import exit_codes
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain

BASELINE = "reference"


def measure(
    name: str,
    batch_size: int,
    shape: models.Shape,
    rounds: int,
    **overrides: Any,
) -> dict[str, Any]:
    """Times the train step of a model with `auto` and with `reference` kernels.

    Args:
        name: name of the model.
        batch_size: B.
        shape: shape of an example.
        rounds: number of timing samples per implementation.
        **overrides: fields of the model's config.

    Returns:
        A JSON-ready record with the shapes; for both implementations the median and
        the interquartile range in seconds, and the achieved fraction of the measured
        rate of matrix products; and `ratio`, the median of `reference` divided by the
        median of `auto`.

    Raises:
        ModelNameError: see `models.build`.
        ConfigError: see `models.build`.
        timer.DisagreementError: the losses of the two implementations differ.
    """
    optimizer = optimizer_lib.make(pretrain.get_config().optimizer)
    functions, losses = {}, {}
    for implementation in (BASELINE, "auto"):
        model = models.build(name, **overrides, implementation=implementation)
        step = state_lib.make_train_step(
            model, optimizer, lambda _: 0.01, seed=0, z_loss=1e-4
        )
        state = jax.jit(
            lambda model=model: state_lib.initialise(model, optimizer, seed=0)
        )()
        batch = model.random_batch(0, batch_size, shape)
        compiled = jax.jit(step).lower(state, batch).compile()

        def run(compiled: Any, *arguments: Any) -> Any:
            return jax.block_until_ready(compiled(*arguments))

        function = functools.partial(run, compiled, state, batch)
        functions[implementation] = function
        losses[implementation] = [np.asarray(function()[1].loss.loss_sum)]
    timer.check_agreement("loss", losses[BASELINE], losses["auto"], 1e-3)
    matmul = matmul_rate.measure(model.config.dtype)
    timings = timer.interleave(functions, rounds)
    flops = model.count(batch_size, shape).flops_train_step
    return {
        "model": model.name,
        "batch_size": batch_size,
        **dataclasses.asdict(shape),
        "rounds": rounds,
        **{
            f"{implementation}_{what}_seconds": getattr(timing, what)
            for implementation, timing in timings.items()
            for what in ("median", "iqr")
        },
        **{
            f"{implementation}_fraction_of_measured_matmul": (
                flops / timing.median / matmul
            )
            for implementation, timing in timings.items()
        },
        "measured_matmul_flops_per_second": matmul,
        "ratio": timings[BASELINE].median / timings["auto"].median,
        **environment.describe(),
    }


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark.

    Args:
        argv: the command-line arguments.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="python -m clinometer.train.benchmark",
        description="Times whole train steps with the kernels that `auto` selects and "
        "with the jnp reference, alternating in one process. For a single thread, set "
        "XLA_FLAGS=--xla_cpu_multi_thread_eigen=false and use taskset.",
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="e.g. transformer-small"
    )
    batch_options.add(parser, batch_size=8)
    parser.add_argument(
        "--vocab-size",
        type=ranges.Whole(1),
        default=32128,
        help="rows of the embedding table; default 32128",
    )
    parser.add_argument(
        "--rounds",
        type=ranges.Whole(2),
        default=7,
        help="timing samples per implementation, at least 2; default 7",
    )
    parser.add_argument("--json", action="store_true", help="print the records as JSON")
    arguments = parser.parse_args(argv)
    records = []
    for name in arguments.models:
        try:
            record = measure(
                name,
                arguments.batch_size,
                models.TextShape(arguments.encoder_length, arguments.decoder_length),
                arguments.rounds,
                vocab_size=arguments.vocab_size,
                dropout_rate=0.0,
            )
        except (ValueError, timer.DisagreementError) as error:
            print(f"benchmark: {error}", file=sys.stderr)
            refused = isinstance(error, ValueError)
            return exit_codes.USAGE if refused else exit_codes.FAILED
        records.append(record)
        parts = (
            f"{implementation} {1e3 * record[f'{implementation}_median_seconds']:.1f} "
            f"ms (IQR {1e3 * record[f'{implementation}_iqr_seconds']:.1f}, "
            f"{record[f'{implementation}_fraction_of_measured_matmul']:.0%} of matmul)"
            for implementation in (BASELINE, "auto")
        )
        line = f"{record['model']}: {', '.join(parts)}, ratio {record['ratio']:.2f}"
        print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if arguments.json:
        print(json.dumps(records, indent=2))
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
