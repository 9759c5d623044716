"""Fine-tunes a pretrained run: `clinometer finetune`, one command for several runs."""

import argparse
from collections.abc import Sequence
import itertools
import pathlib
import sys
from typing import Any

from clinometer.data import errors as data_errors
from clinometer.kernels import devices
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train import fields
from clinometer.train import initial
from clinometer.train import job as job_lib
from clinometer.train import loop
from clinometer.train import main as train_main
from clinometer.train.configs import finetune as finetune_config
from clinometer.train.configs import pretrain as pretrain_config
from clinometer.train.downstream import summary as finetune_summary
from clinometer.train.host import library_noise
from clinometer.train.run import directory as run_directory
from clinometer.train.run import store_search

_RATE = ranges.Real(without_least=True)
_DESCRIPTION = """\
Fine-tunes a pretrained run on a mixture of text-to-text tasks, and scores it. The same
command resumes what was stopped or killed. Examples:

  clinometer finetune --from runs/base --mixture glue_superglue_squad --data DIR
  clinometer finetune --from runs/base --mixture superglue_rte --data DIR \\
      --seeds "0 1 2" --learning-rates "1e-3 5e-4" --config.train_steps=2000
  clinometer finetune --from runs/base --mixture probes --steps "1000 2000 4000"
  clinometer finetune --from runs/base --mixture probes --from-scratch

With several seeds, learning rates or pretraining steps there is a run of each, in a
folder of its own, and a table of all with the errors of the scores.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    arguments, overrides = _parser().parse_known_args(argv)
    library_noise.log_warnings()
    try:
        devices.check()
        return _run(arguments, overrides)
    except (errors.RunError, data_errors.DataError, OptionError) as error:
        print(f"clinometer finetune: error: {error}", file=sys.stderr)
        return exit_codes.of_error(error)


def _run(arguments: argparse.Namespace, overrides: Sequence[str]) -> int:
    source = pathlib.Path(arguments.source)
    if arguments.from_scratch and arguments.steps:
        raise OptionError("--steps: from scratch there are no checkpoints")
    name = _folder_name(arguments.mixture) + "-scratch" * arguments.from_scratch
    finetunings = run_directory.RunDirectory(source).finetunings_path
    workdir = pathlib.Path(arguments.workdir or finetunings / name)
    outputs.check_folder("--workdir", workdir)
    grid = list(
        itertools.product(
            _numbers("--steps", arguments.steps, ranges.Whole()) or [None],
            _numbers("--learning-rates", arguments.learning_rates, _RATE) or [None],
            _numbers("--seeds", arguments.seeds, ranges.SEED) or [None],
        )
    )
    # All are checked before the first is trained.
    jobs: list[tuple[job_lib.Job, pathlib.Path]] = []
    for step, learning_rate, seed in grid:
        config = make_config(
            str(source),
            arguments.mixture,
            arguments.data,
            step=step,
            learning_rate=learning_rate,
            seed=seed,
            from_scratch=arguments.from_scratch,
            store=arguments.store,
            overrides=overrides,
        )
        parts = {"step": step, "lr": learning_rate, "seed": seed}
        named = [f"{k}-{v}" for k, v in parts.items() if v is not None]
        folder = workdir / "_".join(named) if len(grid) > 1 else workdir
        job = job_lib.prepare(config)
        job_lib.check_workdir(job, folder)
        jobs.append((job, folder))
    for number, (job, folder) in enumerate(jobs, 1):
        if len(jobs) > 1:
            print(f"run {number} of {len(jobs)}: {folder}", file=sys.stderr)
        status = loop.train(job, folder)
        if status != "finished":
            return train_main.EXIT_CODES[status]
    folders = [folder for _, folder in jobs]
    print(finetune_summary.write(workdir, folders))
    return train_main.EXIT_CODES["finished"]


def make_config(
    source: str,
    mixture: str,
    folder: str | None,
    *,
    step: int | None = None,
    learning_rate: float | None = None,
    seed: int | None = None,
    from_scratch: bool = False,
    store: str | None = None,
    overrides: Sequence[str] = (),
) -> Any:
    """Returns the configuration of one fine-tuning.

    Args:
        source: directory of the pretrained run, whose model and vocabulary it has.
        mixture: names of mixtures and tasks.
        folder: with the releases' files, or None.
        step: of the run's checkpoint; None for the newest.
        learning_rate: None for the default.
        seed: of dropout and of the examples' order; None for the default.
        from_scratch: take the run's model and vocabulary, but not its parameters.
        store: where the run's store lies, if not where it was.
        overrides: `--config.x=y`.

    Raises:
        RunError: there is no such run or store, or an override is wrong.
    """
    record = initial.read_record(source)
    model = record.config.model
    config = finetune_config.get_config(model.name)
    # Fine-tuning has its own dropout, and the one length follows the data's.
    kind = pretrain_config.architecture(model.name)
    own = {*kind.dropout_rates, kind.length_field} if kind else set()
    with config.unlocked():
        for field, value in model.overrides.items():
            if field not in own:
                config.model[field] = value
    config.data.store = store_search.of_run(record, source, store)
    config.data.mixture = mixture
    config.data.folder = folder
    if not from_scratch:
        config.initial.run = source
        config.initial.step = step
    if learning_rate is not None:
        config.schedule.learning_rate = learning_rate
    if seed is not None:
        config.seed = config.data.seed = seed
    return config_lib.overridden(config, overrides)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer finetune",
        description=_DESCRIPTION,
        epilog="fields of train/configs/finetune.py, with their defaults; the model's\n"
        f"are those of the run:\n\n{fields.describe(finetune_config.get_config())}\n\n"
        f"{train_main.EXIT_CODES_TEXT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--from", dest="source", metavar="RUN", required=True, help="a run's directory"
    )
    parser.add_argument(
        "--mixture",
        required=True,
        help="names of mixtures and tasks, with commas between them; a path to your "
        "own task's file is one, too",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the releases; probes need none"
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="where the run's token store lies, if neither where it was nor moved "
        "together with the run",
    )
    parser.add_argument(
        "--workdir",
        type=outputs.given,
        help="of the run, or of all; default RUN/finetune/MIXTURE",
    )
    parser.add_argument("--seeds", help='such as "0 1 2"')
    parser.add_argument("--learning-rates", help='such as "1e-3 5e-4"')
    parser.add_argument(
        "--steps", help='checkpoints of the pretrained run, such as "1000 2000"'
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="start from drawn parameters instead, to see what pretraining gives; "
        "default folder RUN/finetune/MIXTURE-scratch",
    )
    return parser


def _numbers(
    flag: str, text: str | None, kind: ranges.Whole | ranges.Real
) -> list[Any]:
    try:
        found = ranges.listed(kind)(text or "")
    except OptionError as error:
        raise OptionError(f"{flag}: {error}") from None
    if len(set(found)) < len(found):
        raise OptionError(f"{flag}: {text!r} names one twice")
    return found


def _folder_name(mixture: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "-" for c in mixture)


if __name__ == "__main__":
    sys.exit(main())
