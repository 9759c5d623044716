"""Implements `clinometer convert`: a released checkpoint becomes a run directory."""

import argparse
import pathlib
import sys

from clinometer.kernels import devices
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.tools.released import mesh_release
from clinometer.tools.released import parameters
from clinometer.tools.released import release as release_lib
from clinometer.tools.released import run_writer
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.host import library_noise

_DESCRIPTION = """\
Converts a released model to a run directory. It is a folder of

- T5, T5 1.1, t5-efficient or Switch Transformers, as on the Hugging Face hub:
  config.json, spiece.model and the weights as safetensors (in one file or several with
  an index), flax_model.msgpack or, if PyTorch is installed, pytorch_model.bin;
- T5, T5 1.1 or a model of Scale Efficiently, as Mesh-TensorFlow wrote it:
  operative_config.gin and checkpoints, model.ckpt-STEP.index with their data. All of
  them become checkpoints of one run. This needs TensorFlow: make setup-mesh-tf.

The run is one like any other for `evaluate`, `finetune --from`, `runs`, `report` and
`export`. It has no optimizer state, so that it cannot be resumed. Examples:

  clinometer convert --from t5-efficient-small-el16-dl4 --to runs/el16-dl4
  clinometer finetune --from runs/el16-dl4 --mixture superglue_rte --data DIR
  clinometer convert --from bi_v1_3B_l12_law_03-20-22-27 --to runs/xl12 \
      --vocabulary sentencepiece.model
"""


def main(argv: list[str] | None = None) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    library_noise.log_warnings()
    run = pathlib.Path(arguments.to)
    try:
        outputs.check_folder("--to", run)
        devices.check()
        releases = _opened(arguments.source, arguments.vocabulary)
        every = parameters.of_all(releases)
        record = run_writer.write(run, releases, every)
    except (errors.RunError, OptionError, OSError) as error:
        print(f"clinometer convert: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    found = every[0]
    overrides = " ".join(f"{k}={v}" for k, v in sorted(found.overrides.items()))
    print(f"{run}: {found.name} ({overrides})")
    print(f"{record.counts.params_total:,} parameters")
    if any(release.step for release in releases):
        print(f"checkpoints of steps {', '.join(str(each.step) for each in releases)}")
    for note in record.converted.notes:
        print(note)
    return exit_codes.DONE


def _opened(
    source: pathlib.Path, vocabulary: pathlib.Path | None
) -> list[release_lib.Release]:
    if mesh_release.fits(source):
        return mesh_release.opened(source, vocabulary)
    return [release_lib.opened(source, vocabulary)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer convert",
        description=_DESCRIPTION,
        epilog=exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DIR_OR_FILE",
        required=True,
        type=_path,
        help="folder of the released model, or the file of its weights or of one "
        "checkpoint (model.ckpt-STEP.index) in it",
    )
    parser.add_argument(
        "--to",
        metavar="RUN",
        required=True,
        type=outputs.given_local,
        help="path of the new run directory",
    )
    parser.add_argument(
        "--vocabulary",
        metavar="FILE",
        type=_path,
        help="the model's SentencePiece model, if it is not spiece.model in the folder",
    )
    return parser


def _path(text: str) -> pathlib.Path:
    return pathlib.Path(outputs.given_local(text))


if __name__ == "__main__":
    sys.exit(main())
