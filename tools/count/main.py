"""Implements `clinometer count`: counts parameters, multiply-adds and FLOPs."""

import argparse
from collections.abc import Sequence
import json
import sys

from clinometer import models
from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models.counting import checked
from clinometer.models.counting import counts as counts_lib
from clinometer.train import batch_options
from clinometer.train import exit_codes

_DESCRIPTION = """\
Counts the parameters and FLOPs of a model without allocating or compiling anything.

Multiply-adds follow the papers' convention: the embedding lookup counts as a one-hot
product, and targets are padded to 128. FLOPs are true FLOPs at the real lengths, two
per multiply-add. "Executed" FLOPs are those of the traced program, with and without
rematerialization. Only matrix products count, and causal attention counts as dense.

The closed forms are checked against the traced program. With --all only the closed
forms are used (seconds instead of minutes) and there are no executed FLOPs, unless
--trace is given.
"""

_EPILOG = f"""\
examples:
  clinometer count --model transformer-base
  clinometer count --model transformer-NL16-SM --json
  clinometer count --model transformer-pico --batch-size 16 --encoder-length 128 \\
      --decoder-length 29 --override vocab_size=2048
  clinometer count --model vit-NL24-S --override patch_size=16
  clinometer count --all --json

{exit_codes.described()}
"""


def main(argv: Sequence[str]) -> int:
    """Prints the counts of one model or of all models; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="clinometer count",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model", metavar="NAME", help="the model, e.g. transformer-NL16-SM"
    )
    which.add_argument(
        "--all",
        action="store_true",
        help="count every architecture of texts at every size",
    )
    parser.add_argument(
        "--trace", action="store_true", help="with --all: also trace every model"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    batch_options.add(parser, lengths_given=True)
    parser.add_argument(
        "--platform",
        default="cpu",
        choices=("cpu", "tpu", "cuda", "rocm"),
        help="platform whose kernels the executed FLOPs are counted for "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--override",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="set a field of the model's config, e.g. tie_embeddings=false; may be "
        "repeated",
    )
    args = parser.parse_args(argv)
    names = [args.model]
    if args.all:
        names = [
            f"{architecture}-{size}"
            for architecture in models.ARCHITECTURES
            for size in models.SIZES
        ]
    try:
        devices.check()
        overrides = dict(_parse_override(text) for text in args.override)
        results = [
            counts_lib.count(
                name,
                batch_size=args.batch_size,
                encoder_length=args.encoder_length,
                decoder_length=args.decoder_length,
                platform=args.platform,
                trace=args.trace or not args.all,
                **overrides,
            )
            for name in names
        ]
    except ValueError as error:
        print(f"clinometer count: {error}", file=sys.stderr)
        return exit_codes.USAGE
    if args.json:
        records = [result.to_dict() for result in results]
        print(json.dumps(records if args.all else records[0], indent=2))
    elif args.all:
        _print_table(results)
    else:
        _print_one(results[0])
    return exit_codes.DONE


def _parse_override(text: str) -> tuple[str, object]:
    field, separator, value = text.partition("=")
    if not separator:
        raise OptionError(f"--override {text}: expected FIELD=VALUE")
    return field, ranges.literal(value)


def _print_one(counts: checked.TransformerCounts) -> None:
    values = counts.to_dict()
    rows = [
        (key, f"{value:,}" if isinstance(value, int) else str(value))
        for key, value in values.items()
    ]
    print("\n".join(terminal.table(rows, widths=(0, 29))))


def _print_table(results: Sequence[checked.TransformerCounts]) -> None:
    head = ("model", "params", "active", "MACs (T)", "fwd FLOPs (T)", "train FLOPs (T)")
    rows = [
        (
            counts.model,
            f"{counts.params_total:,}",
            f"{counts.params_active:,}",
            f"{counts.macs_forward_batch / 1e12:.3f}",
            f"{counts.flops_forward / 1e12:.3f}",
            f"{counts.flops_train_step / 1e12:.3f}",
        )
        for counts in results
    ]
    widths = (20, 15, 15, 11, 14, 17)
    print("\n".join(terminal.table(rows, head, widths=widths)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
