"""Measures the speed of the batch pipeline on one core.

Run as `python -m clinometer.tools.input_benchmark STORE`.

The speed is in raw tokens (before corruption) per second, from reading the store to
padded batches. It is measured over several time windows; the first two are discarded.
"""

import argparse
import json
import os
import statistics
import sys
import time

from clinometer import models
from clinometer.data.errors import DataError
from clinometer.data.pretraining import batches
from clinometer.data.store import token_store
from clinometer.kernels.options import ranges
from clinometer.train import batch_options
from clinometer.train import exit_codes

_WARM_UP_WINDOWS = 2


def measure(
    pipeline: batches.PretrainBatches, windows: int = 20, seconds: float = 0.5
) -> dict:
    """Measures the speed of a batch pipeline.

    Args:
        pipeline: the pipeline.
        windows: number of time windows, not counting the discarded ones.
        seconds: length of a window.

    Returns:
        The median and interquartile range of raw tokens/s, the median of raw tokens per
        second of CPU time, and the settings of the measurement.
    """
    tokens_per_batch = pipeline.batch_size * pipeline.lengths.raw
    rates, cpu_rates, step = [], [], 0
    for _ in range(windows + _WARM_UP_WINDOWS):
        first, start, cpu = step, time.perf_counter(), time.process_time()
        while time.perf_counter() - start < seconds:
            pipeline.batch(step)
            step += 1
        elapsed = time.perf_counter() - start
        tokens = (step - first) * tokens_per_batch
        rates.append(tokens / elapsed)
        cpu_rates.append(tokens / (time.process_time() - cpu))
    rates, cpu_rates = rates[_WARM_UP_WINDOWS:], cpu_rates[_WARM_UP_WINDOWS:]
    low, median, high = statistics.quantiles(rates, n=4, method="inclusive")
    return {
        "raw_tokens_per_second_median": median,
        "raw_tokens_per_second_iqr": high - low,
        # The speed on a core that no other process uses.
        "raw_tokens_per_cpu_second_median": statistics.median(cpu_rates),
        "num_windows": windows,
        "window_seconds": seconds,
        "batch_size": pipeline.batch_size,
        "raw_length": pipeline.lengths.raw,
        "encoder_length": pipeline.lengths.inputs,
        "decoder_length": pipeline.lengths.targets,
        "cores": 1,
    }


def main(argv: list[str]) -> int:
    """Runs the benchmark with the arguments `argv`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m clinometer.tools.input_benchmark",
        description="Measures the speed of the batch pipeline on one core, in raw "
        "tokens/s (before corruption).",
    )
    parser.add_argument("store", help="a token store")
    batch_options.add(parser, decoder_length=None)
    parser.add_argument(
        "--windows",
        type=ranges.Whole(1),
        default=20,
        help="number of time windows (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args(argv)
    try:
        pipeline = batches.PretrainBatches(
            token_store.TokenStore.open(arguments.store),
            make_batch=models.batch.make,
            batch_size=arguments.batch_size,
            encoder_length=arguments.encoder_length,
        )
    except DataError as error:
        print(f"input_benchmark: {error}", file=sys.stderr)
        return exit_codes.FAILED
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    result = measure(pipeline, arguments.windows)
    if arguments.json:
        print(json.dumps(result))
    else:
        print(
            f"{result['raw_tokens_per_second_median'] / 1e6:.2f} M raw tokens/s on one "
            f"core (interquartile range "
            f"{result['raw_tokens_per_second_iqr'] / 1e6:.2f}; "
            f"{result['raw_tokens_per_cpu_second_median'] / 1e6:.2f} M by CPU time), "
            f"{result['encoder_length']}/{result['decoder_length']}, "
            f"{result['num_windows']} windows of {result['window_seconds']} s"
        )
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
