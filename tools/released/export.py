"""Implements `clinometer export`: a run becomes files that others load."""

import argparse
import pathlib
import sys

from clinometer.kernels import devices
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.released import exported
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.host import library_noise

_DESCRIPTION = """\
Writes a checkpoint of a run as the files of a model on the Hugging Face hub:
config.json, model.safetensors, the tokenizer's files and a model card with counts,
data, measurements, and the study and slope that the run belongs to. A model that
`transformers` does not have is written as safetensors under Clinometer's own names.
Example:

  clinometer export runs/el16-dl4 --format hf --to hub/el16-dl4
"""


def main(argv: list[str] | None = None) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    library_noise.log_warnings()
    folder = pathlib.Path(arguments.to)
    try:
        outputs.check_folder("--to", folder)
        devices.check()
        remarks = exported.write(
            pathlib.Path(arguments.run),
            folder,
            form=arguments.format,
            step=arguments.step,
            store=arguments.store,
        )
    except (errors.RunError, OptionError, OSError) as error:
        print(f"clinometer export: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    print(folder)
    for remark in remarks:
        print(remark)
    return exit_codes.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer export",
        description=_DESCRIPTION,
        epilog=exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "run", metavar="RUN", type=outputs.given_local, help="run directory"
    )
    parser.add_argument(
        "--to",
        metavar="DIR",
        required=True,
        type=outputs.given_local,
        help="path of the new folder",
    )
    parser.add_argument(
        "--format",
        choices=exported.FORMATS,
        default=exported.HUB,
        help="hf: as `transformers` reads it, if it has the model; clinometer: under "
        "Clinometer's own names (default: %(default)s)",
    )
    parser.add_argument(
        "--step",
        type=ranges.Whole(),
        metavar="N",
        help="step of the checkpoint; default the newest",
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="token store of the run; needed only if it was moved without the run",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
