"""Command `clinometer generate`: decodes prompts with the model of a run."""

import argparse
from collections.abc import Sequence
import dataclasses
import math
import sys

from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.options import outputs as output_paths
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import data_fields
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train import trained
from clinometer.train.downstream import arguments as prediction_arguments
from clinometer.train.downstream import options as options_lib
from clinometer.train.generation import outputs
from clinometer.train.generation import prompts
from clinometer.train.host import library_noise
from clinometer.train.run import json_file

_DESCRIPTION = """\
Decodes prompts with the model and the vocabulary of a trained run. <extra_id_0>,
<extra_id_1>, ... are blanks, which models pretrained by span corruption fill. Examples:

  clinometer generate runs/base "The <extra_id_0> walks in <extra_id_1> park."
  clinometer generate runs/base/finetune/glue --file prompts.txt --decoding beam --json
  clinometer generate runs/base "Once <extra_id_0>" --decoding sample --num-samples 3
"""
_SAMPLES = ranges.Whole(1, 1 << 16)
# The method of decoding that an option belongs to.
_METHODS = {
    "beam_size": "beam",
    "length_penalty": "beam",
    "temperature": "sample",
    "top_k": "sample",
    "top_p": "sample",
    "seed": "sample",
    "num_samples": "sample",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_intermixed_args(argv)
    library_noise.log_warnings()
    try:
        request = _request(arguments)
        devices.check()
        run = trained.open_run(paths.resolved(arguments.run), arguments.store)
        with terminal.Line(seconds=math.inf) as line:  # Only on a terminal.
            line.say(f"decoding {len(request.prompts)} prompts")
            step, decoded = outputs.generate(run, request)
    except (errors.RunError, data_errors.DataError, OptionError) as error:
        print(f"clinometer generate: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    if arguments.json:
        found = {
            "run": arguments.run,
            "step": step,
            "decoding": request.options.decoding,
            "outputs": [dataclasses.asdict(output) for output in decoded],
        }
        print(json_file.dumps(found, indent=1))
    else:
        print("\n\n".join(map(_text, decoded)))
    return exit_codes.DONE


def _request(arguments: argparse.Namespace) -> outputs.Request:
    """Returns what to decode; raises ConfigError if options do not fit together."""
    given = prediction_arguments.given(arguments)
    options = options_lib.PredictionOptions(**given)
    if arguments.num_samples is not None:
        given["num_samples"] = arguments.num_samples
    for name, method in _METHODS.items():
        if name in given and options.decoding != method:
            raise errors.ConfigError(
                f"{prediction_arguments.flag(name)}: only with --decoding {method}"
            )
    if bool(arguments.prompts) == (arguments.file is not None):
        raise errors.ConfigError(
            "PROMPT: give prompts either as arguments or by --file"
        )
    return outputs.Request(
        prompts.read(arguments.file)
        if arguments.file is not None
        else prompts.given(arguments.prompts),
        arguments.step,
        arguments.encoder_length,
        arguments.max_length,
        arguments.num_samples or 1,
        options,
        arguments.mesh,
    )


def _text(output: outputs.Output) -> str:
    """Returns what is shown of an output."""
    cut = "" if output.ended else ", cut at the largest length"
    rows = [("prompt", output.prompt)]
    if output.filled is not None:
        rows.append(("filled", output.filled))
    rows.append(("output", output.output))
    rows.append(
        (
            "",
            f"log-likelihood {output.log_likelihood:.4f} nats, {len(output.tokens)} "
            f"tokens{cut}",
        )
    )
    return "\n".join(f"{name:<7} {text}" for name, text in rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer generate",
        description=_DESCRIPTION,
        epilog=exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prediction_arguments.add_run(parser)
    parser.add_argument("prompts", metavar="PROMPT", nargs="*", help="a text")
    parser.add_argument(
        "--file",
        type=output_paths.given,
        help="file with one prompt a line; - for standard input",
    )
    parser.add_argument(
        "--step",
        type=ranges.Whole(),
        help="step of the checkpoint; default the newest",
    )
    parser.add_argument(
        "--max-length",
        metavar="TOKENS",
        type=ranges.Whole(1, data_fields.MOST_TOKENS),
        help="longest output in tokens; default the decoder length of the run",
    )
    parser.add_argument(
        "--encoder-length",
        metavar="TOKENS",
        type=ranges.Whole(2, data_fields.MOST_TOKENS),
        help="longest accepted prompt in tokens; default the encoder length of the run",
    )
    parser.add_argument(
        "--num-samples",
        metavar="N",
        type=_SAMPLES,
        help=f"sample: outputs of each prompt. Accepts {_SAMPLES}. Default: 1.",
    )
    prediction_arguments.add_predictions(
        parser,
        [method for method in options_lib.METHODS if method != "rank"],
        [name for name in options_lib.RANGES if name != "max_examples"],
        "Decoding method.",
    )
    parser.add_argument("--json", action="store_true", help="print the outputs as JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
