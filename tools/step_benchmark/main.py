"""`clinometer bench-steps`: times whole train steps on the user's machine."""

import argparse
from collections.abc import Sequence
import sys
from typing import Any
from typing import TextIO

from clinometer import models
from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.bench import environment as environment_lib
from clinometer.kernels.bench import matmul_rate
from clinometer.kernels.bench import records as records_lib
from clinometer.kernels.bench import run_options
from clinometer.kernels.bench import timer
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.tools.step_benchmark import ours
from clinometer.tools.step_benchmark import peer as peer_lib
from clinometer.train import batch_options
from clinometer.train import exit_codes

_DESCRIPTION = """\
Times whole train steps of models of texts: forward pass, backward pass and Adafactor's
update, on random tokens, without dropout. Every dtype is combined with every choice of
kernels. All forms alternate in one process.

"ratio" is the median time of the first form over that of a form: above 1, it is faster.
"matmul" is the FLOPs per second relative to XLA's own 1024 x 1024 matmul in the dtype
of the form.
"""

_EPILOG = """\
examples:
  clinometer bench-steps transformer-small
  clinometer bench-steps transformer-small --dtype float32 --dtype bfloat16 \\
      --implementation auto
  .venv-peer/bin/clinometer bench-steps transformer-small --dtype float32 \\
      --dtype bfloat16 --implementation auto --peer      # after make setup-peer
  XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0 \\
      clinometer bench-steps transformer-pico --batch-size 4 --encoder-length 128 \\
      --decoder-length 29 --vocab-size 2048     # as `make study`, on one thread

exit codes: 0 success; 1 losses disagree; 2 bad options
"""


def measure(
    name: str,
    batch_size: int,
    shape: models.TextShape,
    rounds: int,
    dtypes: Sequence[str] = ("float32",),
    implementations: Sequence[str] = ours.IMPLEMENTATIONS,
    peer: bool = False,
    line: terminal.Line | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Times the train steps of a model.

    Args:
        name: name of the model.
        batch_size: B.
        shape: shape of an example.
        rounds: number of timing samples of each form.
        dtypes: dtypes of the activations.
        implementations: of the kernels, each with every dtype.
        peer: whether to time Hugging Face's forms, too.
        line: where progress is shown; None for nowhere.
        **overrides: fields of the model's config.

    Returns:
        A JSON-ready record with the shapes, the conditions and `forms`: for each the
        median and the interquartile range in seconds; `ratio`, the median of the first
        form over its own; and for ours, the fraction of the measured rate of matrix
        products.

    Raises:
        ModelNameError: see `models.build`.
        ConfigError: see `models.build`.
        timer.DisagreementError: the losses of our forms differ.
    """
    show = line.say if line else lambda text: None
    show(f"{name}: compiling")
    functions = ours.steps(
        name, batch_size, shape, dtypes, implementations, **overrides
    )
    if peer:
        functions |= peer_lib.steps(name, batch_size, shape, **overrides)
    rates = {dtype: matmul_rate.measure(dtype) for dtype in dtypes}
    timings = timer.interleave(
        functions, rounds, progress=lambda done: show(f"{name}: round {done}/{rounds}")
    )
    model = models.build(name, **overrides)
    flops = model.count(batch_size, shape).flops_train_step
    first = next(iter(timings.values())).median
    forms = []
    for form, timing in timings.items():
        found = {
            "form": form,
            "median_seconds": timing.median,
            "iqr_seconds": timing.iqr,
            "ratio": first / timing.median,
        }
        rate = rates.get(form.split()[0])
        if rate:
            found["fraction_of_measured_matmul"] = flops / timing.median / rate
        forms.append(found)
    return {
        "model": model.name,
        "batch_size": batch_size,
        "encoder_length": shape.encoder_length,
        "decoder_length": shape.decoder_length,
        "rounds": rounds,
        "forms": forms,
        "measured_matmul_flops_per_second": rates,
        **environment_lib.describe(),
    }


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark; returns the exit code."""
    args = _parser().parse_args(argv)
    line = terminal.Line(seconds=5)
    records = []
    try:
        if args.out is not None:
            outputs.check_file("--out", args.out)
        devices.check()
        for name in args.models:
            if models.takes_images(name):
                raise ValueError(f"{name} is a model of images; accepted: texts")
            models.build(name, vocab_size=args.vocab_size)
        if args.peer:
            peer_lib.check(args.models)
        for name in args.models:
            records.append(
                measure(
                    name,
                    args.batch_size,
                    models.TextShape(args.encoder_length, args.decoder_length),
                    args.rounds,
                    tuple(dict.fromkeys(args.dtype or ("float32",))),
                    tuple(dict.fromkeys(args.implementation or ours.IMPLEMENTATIONS)),
                    args.peer,
                    line,
                    vocab_size=args.vocab_size,
                    dropout_rate=0.0,
                    **_length(name, args.encoder_length),
                )
            )
            line.clear()
            if args.out:  # After each model, so that an interrupted run is kept.
                outputs.write_text(args.out, records_lib.dumps(records))
            out = sys.stderr if args.json else sys.stdout
            print(_table(records[-1], out) + "\n", file=out, flush=True)
    except (ValueError, timer.DisagreementError) as error:
        line.clear()
        print(f"clinometer bench-steps: {error}", file=sys.stderr)
        refused = isinstance(error, ValueError)
        return exit_codes.USAGE if refused else exit_codes.FAILED
    if args.json:
        print(records_lib.dumps(records), end="")
    return exit_codes.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer bench-steps",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models", nargs="+", metavar="MODEL", help="e.g. transformer-small"
    )
    batch_options.add(parser, batch_size=8)
    parser.add_argument(
        "--vocab-size",
        type=ranges.Whole(1),
        default=32128,
        metavar="N",
        help="rows of the embedding table (default: 32128)",
    )
    parser.add_argument(
        "--dtype",
        action="append",
        choices=ours.DTYPES,
        help="dtype of the activations; repeatable (default: float32)",
    )
    parser.add_argument(
        "--implementation",
        action="append",
        choices=ours.IMPLEMENTATIONS,
        help="kernels: the ones that models choose, or plain jnp; repeatable (default: "
        "both)",
    )
    parser.add_argument(
        "--peer",
        action="store_true",
        help="also time Hugging Face's T5, eager and compiled, in float32 and in mixed "
        "precision (needs PyTorch and transformers)",
    )
    run_options.add(parser)
    return parser


def _length(name: str, encoder_length: int) -> dict[str, int]:
    """Returns the field of a model that takes inputs of one length only."""
    field = models.architecture_of(name).length_field
    return {field: encoder_length} if field else {}


def _table(record: dict[str, Any], out: TextIO) -> str:
    versions = ", ".join(f"{n} {v}" for n, v in record["versions"].items())
    head = (
        f"{record['model']}, {record['batch_size']} x {record['encoder_length']}/"
        f"{record['decoder_length']}, {record['rounds']} rounds; {record['host_cpu']}, "
        f"{record['threads']} threads; {versions}"
    )
    rows = []
    for form in record["forms"]:
        share = form.get("fraction_of_measured_matmul")
        rows.append(
            (
                form["form"],
                f"{1e3 * form['median_seconds']:.1f}",
                f"{1e3 * form['iqr_seconds']:.1f}",
                f"{form['ratio']:.2f}",
                f"{share:.0%}" if share else "",
            )
        )
    columns = ("form", "ms", "IQR", "ratio", "matmul")
    return "\n".join([head, *terminal.table(rows, columns, stream=out)])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
