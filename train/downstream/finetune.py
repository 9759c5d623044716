"""Command `clinometer finetune`: fine-tunes a pretrained run, once or several times."""

import argparse
from collections.abc import Sequence
import itertools
import sys
from typing import Any
from typing import TypeAlias

from clinometer.data import paths
from clinometer.kernels import devices
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import config as config_lib
from clinometer.train import fields
from clinometer.train import initial
from clinometer.train import job as job_lib
from clinometer.train import loop
from clinometer.train import main as train_main
from clinometer.train.configs import finetune as finetune_config
from clinometer.train.configs import pretrain as pretrain_config
from clinometer.train.downstream import summary as finetune_summary
from clinometer.train.host import library_noise
from clinometer.train.hosts import agreement
from clinometer.train.hosts import options
from clinometer.train.hosts import session as session_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import store_search

_RATE = ranges.Real(without_least=True)
_DESCRIPTION = """\
Fine-tunes a pretrained run on a mixture of text-to-text tasks and scores it. The same
command resumes a fine-tuning that was stopped or killed. Examples:

  clinometer finetune --from runs/base --mixture glue_superglue_squad --data DIR
  clinometer finetune --from runs/base --mixture superglue_rte --data DIR \\
      --seeds "0 1 2" --learning-rates "1e-3 5e-4" --config.train_steps=2000
  clinometer finetune --from runs/base --mixture probes --steps "1000 2000 4000"
  clinometer finetune --from runs/base --mixture probes --from-scratch

With several seeds, learning rates or pretraining steps, each combination is a separate
run in its own folder, and a table compares the scores with their 95 % intervals.
"""


_Planned: TypeAlias = tuple[job_lib.Job, paths.AnyPath]  # And its run directory.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    arguments, overrides = _parser().parse_known_args(argv)
    library_noise.log_warnings()

    def work(session: session_lib.Session) -> int:
        workdir, jobs = agreement.prepared(
            session.group, lambda: _prepare(arguments, overrides), _agreed_fields
        )
        return _train(workdir, jobs, session)

    return session_lib.run("clinometer finetune", arguments, work)


def _prepare(
    arguments: argparse.Namespace, overrides: Sequence[str]
) -> tuple[paths.AnyPath, list[_Planned]]:
    """Returns the folder of all runs, and the runs, which are all checked."""
    devices.check()
    source = paths.parse(arguments.source)
    if arguments.from_scratch and arguments.steps:
        raise OptionError("--steps: must not be given with --from-scratch")
    name = _folder_name(arguments.mixture) + "-scratch" * arguments.from_scratch
    finetunings = run_directory.RunDirectory(source).finetunings_path
    workdir = paths.parse(arguments.workdir or finetunings / name)
    run_directory.check("--workdir", workdir)
    grid = list(
        itertools.product(
            _numbers("--steps", arguments.steps, ranges.Whole()) or [None],
            _numbers("--learning-rates", arguments.learning_rates, _RATE) or [None],
            _numbers("--seeds", arguments.seeds, ranges.SEED) or [None],
        )
    )
    jobs: list[_Planned] = []
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
    return workdir, jobs


def _agreed_fields(prepared: tuple[paths.AnyPath, list[_Planned]]) -> dict[str, Any]:
    """Returns what must be the same in all processes."""
    return {
        f"run {number}: {name}": value
        for number, (job, folder) in enumerate(prepared[1], 1)
        for name, value in job_lib.agreed_fields(job, folder).items()
    }


def _train(
    workdir: paths.AnyPath, jobs: Sequence[_Planned], session: session_lib.Session
) -> int:
    """Trains the runs one after the other; returns the exit code."""
    for number, (job, folder) in enumerate(jobs, 1):
        if len(jobs) > 1 and session.is_first:
            print(f"run {number} of {len(jobs)}: {folder}", file=sys.stderr)
        status = loop.train(job, folder, session)
        if status != "finished":
            return train_main.EXIT_CODES[status]
    if session.is_first:
        print(finetune_summary.write(workdir, [folder for _, folder in jobs]))
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
        source: directory of the pretrained run, which gives the model and vocabulary.
        mixture: comma-separated names of mixtures and tasks.
        folder: folder with the files of the task releases, or None.
        step: step of the run's checkpoint; None for the newest.
        learning_rate: the peak learning rate; None for the default.
        seed: seed of the run and of the data order; None for the default.
        from_scratch: whether to initialise the parameters at random.
        store: path of the run's token store; None to search for it.
        overrides: e.g. ["--config.train_steps=1000"].

    Raises:
        RunError: there is no such run or store.
        ConfigError: an override is wrong.
    """
    record = initial.read_record(source)
    model = record.config.model
    config = finetune_config.get_config(model.name)
    # Keep the dropout rates of fine-tuning, and the model's length tied to the data's.
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
        config.seed = config.data.order = seed
    return config_lib.overridden(config, overrides)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer finetune",
        description=_DESCRIPTION,
        epilog="fields of train/configs/finetune.py, with their defaults (fields of\n"
        "the model, except dropout rates, default to those of the run):\n\n"
        f"{fields.describe(finetune_config.get_config())}\n\n"
        f"{train_main.EXIT_CODES_TEXT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="RUN",
        required=True,
        help="run directory of the pretrained run",
    )
    parser.add_argument(
        "--mixture",
        required=True,
        help="comma-separated names of mixtures and tasks; a task can also be the path "
        "of a Python file that declares it",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder with the files of the task releases; not needed for probes",
    )
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="token store of the run; needed only if it was moved without the run",
    )
    parser.add_argument(
        "--workdir",
        type=outputs.given,
        help="run directory, or its parent with several runs; default "
        "RUN/finetune/MIXTURE",
    )
    options.add_to(parser)
    parser.add_argument("--seeds", help='seeds to train with, e.g. "0 1 2"')
    parser.add_argument(
        "--learning-rates", help='peak learning rates, e.g. "1e-3 5e-4"'
    )
    parser.add_argument(
        "--steps",
        help='checkpoints of the pretrained run to start from, e.g. "1000 2000"; '
        "default the newest",
    )
    parser.add_argument(
        "--from-scratch",
        action="store_true",
        help="initialise the parameters at random instead, as a baseline; the default "
        "--workdir is then RUN/finetune/MIXTURE-scratch",
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
        raise OptionError(f"{flag}: {text!r} contains a duplicate")
    return found


def _folder_name(mixture: str) -> str:
    return "".join(c if c.isalnum() or c in "_-" else "-" for c in mixture)


if __name__ == "__main__":
    sys.exit(main())
