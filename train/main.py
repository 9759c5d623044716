"""Command `clinometer train`, also `python -m clinometer.train.main`."""

import argparse
from collections.abc import Sequence
import sys

from clinometer.kernels import devices
from clinometer.kernels.options import outputs
from clinometer.kernels.options.errors import OptionError
from clinometer.train import config as config_lib
from clinometer.train import exit_codes
from clinometer.train import fields
from clinometer.train import job as job_lib
from clinometer.train import loop
from clinometer.train.configs import pretrain
from clinometer.train.host import library_noise
from clinometer.train.hosts import agreement
from clinometer.train.hosts import options
from clinometer.train.hosts import session as session_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import store_search

# Keyed by the return value of `loop.train`.
EXIT_CODES = {"finished": exit_codes.DONE, "stopped": exit_codes.STOPPED}
EXIT_CODES_TEXT = exit_codes.described(
    {
        exit_codes.DONE: "finished",
        exit_codes.STOPPED: "stopped by SIGTERM, Ctrl-C or a file named stop in the "
        "run directory, after saving a checkpoint",
        exit_codes.HELD: "another process is training this run",
        exit_codes.LOST: "another process of the run was lost, or no step ended in "
        "time; the same command resumes the run",
    }
)
_CONFIG = "train/configs/pretrain.py"

_DESCRIPTION = """\
Pretrains one model by span corruption. The same command resumes a run that was stopped
or killed. Example:

  clinometer train --model transformer-small --workdir runs/small \\
      --config.data.store STORE --config.train_steps 1000
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="clinometer train",
        description=_DESCRIPTION,
        epilog="fields of train/configs/pretrain.py, with their defaults:\n\n"
        f"{fields.describe(pretrain.get_config())}\n\n{EXIT_CODES_TEXT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--model",
        metavar="NAME",
        help="model to train; short for --config=train/configs/pretrain.py:NAME",
    )
    which.add_argument(
        "--config",
        metavar="FILE.py:MODEL",
        help="configuration file and the argument of its get_config",
    )
    parser.add_argument(
        "--workdir",
        type=outputs.given,
        required=True,
        help="run directory, which may be in an object store; created if missing",
    )
    options.add_to(parser)
    parser.add_argument(
        "--from",
        dest="start",
        type=_run_and_step,
        metavar="RUN@STEP",
        help="start with the parameters of a checkpoint of another run, the newest "
        "without @STEP; short for --config.initial.run=RUN --config.initial.step=STEP",
    )
    parser.add_argument(
        "--branch",
        action="store_true",
        help="with --from, go on at that step instead of 0, with the optimizer state "
        "and the order of the data, for example to let the learning rate decay; short "
        "for --config.initial.branch=true --config.initial.optimizer_slots=keep",
    )
    arguments, overrides = parser.parse_known_args(argv)
    library_noise.log_warnings()

    def prepare() -> job_lib.Job:
        devices.check()
        run_directory.check("--workdir", arguments.workdir)
        specification = arguments.config or f"{_CONFIG}:{arguments.model}"
        fields_given = [*_initial(arguments, overrides), *overrides]
        config = config_lib.load(specification, fields_given)
        job = job_lib.prepare(store_search.located(config, arguments.workdir))
        job_lib.check_workdir(job, arguments.workdir)
        return job

    def work(session: session_lib.Session) -> int:
        job = agreement.prepared(
            session.group,
            prepare,
            lambda job: job_lib.agreed_fields(job, arguments.workdir),
        )
        return EXIT_CODES[loop.train(job, arguments.workdir, session)]

    return session_lib.run("clinometer train", arguments, work)


def _run_and_step(text: str) -> tuple[str, str | None]:
    run, at, step = outputs.given(text).rpartition("@")
    if not at:
        return text, None
    if not (run and step.isdecimal()):
        raise OptionError(
            f"got {text!r}, accepted: RUN or RUN@STEP, such as runs/a@500"
        )
    return run, step


def _initial(arguments: argparse.Namespace, overrides: Sequence[str]) -> list[str]:
    """Returns the fields for `--from` and `--branch`; OptionError if they conflict."""
    if arguments.start is None:
        if arguments.branch:
            raise OptionError("--branch: requires --from RUN@STEP")
        return []
    run, step = arguments.start
    fields = {"run": run}
    if step is not None:
        fields["step"] = step
    if arguments.branch:
        fields |= {"branch": "true", "optimizer_slots": "keep"}
    for name in fields:
        if any(each.startswith(f"--config.initial.{name}") for each in overrides):
            raise OptionError(f"--from: must not be given with --config.initial.{name}")
    return [f"--config.initial.{name}={value}" for name, value in fields.items()]


if __name__ == "__main__":
    sys.exit(main())
