"""The options of `clinometer plan`."""

import argparse
from collections.abc import Sequence
from typing import Any

from clinometer import models
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.tpu import chips
from clinometer.models import config as model_config
from clinometer.models.layers import remat
from clinometer.tools.plan import gpus
from clinometer.tools.plan import limit_options
from clinometer.train import batch_options
from clinometer.train import exit_codes
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib

_DESCRIPTION = """\
Says, before anything is paid for, whether models fit on TPUs or GPUs and how long and
how much their training would take: memory of a device, what the devices exchange,
FLOPs, time of a step with its error, MFU, hours and chip-hours, and with a file of
prices and watts the cost and the energy.

The real train step is compiled ahead of time for the topology, divided by the partition
rules of training. This needs the TPU compiler (make setup-tpu), but no TPU. Programs
are kept in the cache folder under their hash, so that each is compiled once; XL takes
some minutes. Times come from the compiler's estimates of cycles and from the bytes that
collectives send. tools/plan/VALIDATION.md compares them with published speeds.

For GPUs (--gpu) it needs JAX's CUDA packages (make setup-cuda, 4.4 GB), but no GPU. The
memory is then a prediction, since nothing is autotuned, and all times, hours and costs
are lower bounds, from the published peaks of FLOPs and bandwidth.
"""

_EPILOG = f"""\
examples:
  clinometer plan --topology v3:4x4 --models transformer-small,transformer-base
  clinometer plan --topology v5e:4x4 --models switch-base --mesh expert=16 \\
      --override sequences_per_group=4 --prices prices.toml --json
  clinometer plan --topology v3:8x8 --models vit-S,vit-B --batch-size 4096
  clinometer plan --gpu h100:8 --models transformer-large --batch-size 1024

A file of prices is TOML, with a table for each kind of chip or GPU. Both keys are
optional:
  currency = "USD"
  [v5e]
  price_per_chip_hour = 1.0
  watts_per_chip = 200

A plan that does not fit has the compiler's reason, and is no failure.

{exit_codes.described({exit_codes.FAILED: "a program could not be compiled"})}
"""


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parses the arguments of the command.

    Args:
        argv: the arguments.
    """
    parser = argparse.ArgumentParser(
        prog="clinometer plan",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--models",
        type=_names,
        required=True,
        metavar="NAME,...",
        help="the models, such as transformer-base,glu-NL16-SM",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--topology",
        metavar="NAME",
        help=f"a chip ({', '.join(chips.CHIPS)}), for its smallest topology, or a "
        "topology such as v3:4x4 or v4:2x2x4",
    )
    where.add_argument(
        "--gpu",
        metavar="NAME",
        help=f"an NVIDIA GPU ({', '.join(gpus.GPUS)}), or several of one host, such "
        "as h100:8",
    )
    batch_options.add(parser, lengths_given=True)
    add(
        "--steps",
        type=ranges.Whole(1),
        default=pretrain.get_config().train_steps,
        metavar="N",
        help="steps of a run (default: %(default)s)",
    )
    add(
        "--dtype",
        choices=model_config.DTYPES,
        default="bfloat16",
        help="dtype of the computation (default: %(default)s)",
    )
    add(
        "--remat",
        choices=remat.POLICIES,
        default="none",
        help="what the backward pass recomputes (default: %(default)s)",
    )
    add(
        "--mesh",
        type=mesh_lib.parsed,
        default={},
        metavar="AXIS=N,...",
        help=f"sizes of axes of the mesh ({', '.join(mesh_lib.AXES)}), such as "
        "model=8; the defaults are those of --config.mesh.* of `clinometer train`",
    )
    add(
        "--num-microbatches",
        type=ranges.Whole(1),
        default=1,
        metavar="N",
        help="microbatches of a step, whose gradients are summed "
        "(default: %(default)s)",
    )
    add(
        "--implementation",
        choices=("auto", "reference"),
        default="auto",
        help="auto for the Pallas kernels where the chip runs them, reference for "
        "plain jnp (default: %(default)s)",
    )
    add(
        "--override",
        type=_field,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="set a field of the models' configs, such as d_ff=4096; may be repeated",
    )
    add(
        "--prices",
        type=outputs.given,
        metavar="FILE",
        help="a TOML file of prices and watts; without it no cost or energy is shown",
    )
    add(
        "--fit",
        action="store_true",
        help="search the mesh, --remat and --num-microbatches: of those that are "
        "estimated to fit, compile up to eight of the fastest, and rank them. Axes of "
        "--mesh, a --remat other than none and a least number of microbatches are "
        "kept. Only for TPUs: bounds of times rank nothing",
    )
    add("--json", action="store_true", help="print the plans as JSON")
    limit_options.add(parser, 3600, "time limit for compiling a program")
    options = parser.parse_args(argv)
    if options.fit and options.gpu is not None:
        parser.error("--fit: not with --gpu, whose times are bounds and rank nothing")
    if options.fit and any(map(models.takes_images, options.models)):
        parser.error("--fit: only for models of texts, whose memory it can estimate")
    return options


def fields(options: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of the models' configs that the options give.

    Args:
        options: from `parse`.
    """
    return {
        "scan_layers": True,
        "dtype": options.dtype,
        "remat": options.remat,
        "implementation": options.implementation,
        **dict(options.override),
    }


def _names(text: str) -> list[str]:
    """Parses --models; raises OptionError for an empty list."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise OptionError(f"got {ranges.shown(text)}; accepted: NAME,...")
    return list(dict.fromkeys(found))


def _field(text: str) -> tuple[str, Any]:
    """Parses --override; raises OptionError if it is wrong."""
    key, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"got {ranges.shown(text)}; accepted: FIELD=VALUE")
    return key, ranges.literal(value)
