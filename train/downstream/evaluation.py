"""Command `clinometer evaluate`: scores checkpoints of a run on downstream tasks."""

import argparse
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import logging
import math
import sys
from typing import Any

from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.tasks import registry
from clinometer.data.tasks import scores
from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import data_fields
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train import trained
from clinometer.train.downstream import arguments as prediction_arguments
from clinometer.train.downstream import evaluation_table
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import options as downstream_options
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import library_noise
from clinometer.train.hosts import agreement
from clinometer.train.hosts import options as hosts_options
from clinometer.train.hosts import session as session_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record
from clinometer.train.sharding import mesh as mesh_lib

BEST = "best"

_DESCRIPTION = """\
Scores checkpoints of a run on downstream tasks, as T5 does. Prints the scores, adds
them to the run's record (run.json, "evaluations"), and writes the predictions to the
run directory. If the files cannot be written, the scores are still printed. Examples:

  clinometer evaluate runs/base/finetune/glue --mixture glue --data DIR --step best
  clinometer evaluate runs/base/finetune/boolq --mixture boolq --data DIR \\
      --decoding rank --json
"""
_EXIT_CODES = exit_codes.described(
    {
        exit_codes.HELD: "scores printed but not recorded, because another process is "
        "training this run",
        exit_codes.LOST: "another process of the evaluation was lost",
    }
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        run: the run directory.
        mixture: comma-separated names of mixtures and tasks; None for those of the run.
        folder: folder with the files of the task releases; None for that of the run.
        store: path of the run's token store; None to search for it.
        step: step of a checkpoint; None for the newest, "best" for the best of each
            task.
        encoder_length: S; None for that of the run.
        decoder_length: T; None for that of the run.
        options: options for making predictions.
        mesh: sizes of axes of the mesh; the others are those of the run if it had as
            many devices, else the defaults of training.
    """

    run: paths.AnyPath
    mixture: str | None
    folder: str | None
    store: str | None
    step: int | str | None
    encoder_length: int | None
    decoder_length: int | None
    options: downstream_options.PredictionOptions
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)


def evaluate(
    request: Request,
    say: Callable[[str], None] = lambda text: None,
    *,
    writes: bool = True,
) -> run_record.Evaluation:
    """Scores a run and writes its predictions.

    Args:
        request: what to score.
        say: called with progress messages.
        writes: whether to write the predictions, as one of several processes does.

    Returns:
        The results, for `record`.

    Raises:
        RunError: there is no such run, checkpoint, task or file.
        ConfigError: an option is out of range, or the mesh does not fit the devices or
            the model.
    """
    run = trained.open_run(request.run, request.store)
    record = run.record
    mixture = record.config.data.mixture if request.mixture is None else request.mixture
    if mixture is None:
        raise errors.ConfigError(
            "--mixture: required, because the run was not fine-tuned on a mixture"
        )
    request.options.check("--", run.vocabulary.size)
    folder = request.folder or record.data.folder
    try:
        names = list(mixtures.expand(mixture, registry.names()))
    except data_errors.DataError as error:
        raise errors.ConfigError(f"--mixture: {error}") from error
    placed = run.place(request.options.batch_size, request.mesh)
    shape = run.shape(request.encoder_length, request.decoder_length)
    scorer = downstream.Scorer(
        run.model,
        run.vocabulary,
        downstream_examples.labelled(names, folder),
        encoder_length=shape.encoder_length,
        decoder_length=shape.decoder_length,
        options=request.options,
    )
    steps = _steps(request, run, scorer.names)
    evaluated_at = run_record.now()
    tasks: dict[str, run_record.EvaluatedTask] = {}
    numbers: dict[str, float] = {}
    sequences_per_second = None  # Of the last step.
    for step in sorted(set(steps.values())):
        chosen = [name for name in scorer.names if steps[name] == step]
        with mesh_lib.shard_over(placed.mesh):
            result = scorer(run.parameters(step, placed), say, chosen)
        if writes:
            place = run.directory.evaluation_path(request.options.decoding, step)
            try:
                scorer.write_predictions(result, place)
            except OSError as error:
                logging.warning(
                    "%s: predictions could not be written: %s", place, error
                )
        sequences_per_second = result.sequences_per_second
        for name, found in result.tasks.items():
            numbers[name] = found.number
            tasks[name] = _described(step, found)
    return run_record.Evaluation(
        mixture=mixture,
        options=dataclasses.asdict(request.options),
        evaluated_at=evaluated_at,
        tasks=tasks,
        sequences_per_second=sequences_per_second,
        averages={
            name: run_record.Average(
                value=scores.finite_or_none(average.value),
                standard_error=scores.finite_or_none(average.standard_error),
            )
            for name, average in downstream.averages(numbers).items()
        },
    )


def record(run: paths.AnyPath, *added: run_record.Evaluation) -> None:
    """Adds evaluations to a run's record, or warns if they cannot be written.

    Args:
        run: the run directory.
        *added: the evaluations.

    Raises:
        RunHeldError: another process is training the run.
    """
    try:
        directory = run_directory.RunDirectory(run)
        with directory.lease():  # A training process also writes the record.
            found = directory.record()
            evaluations = (*found.evaluations, *added)
            directory.write_record(dataclasses.replace(found, evaluations=evaluations))
    except OSError as error:
        logging.warning("%s: scores could not be recorded: %s", run, error)


def _described(step: int, found: downstream.TaskResult) -> run_record.EvaluatedTask:
    return run_record.EvaluatedTask(
        step=step,
        score=scores.finite_or_none(found.number),
        **scores.describe_error(found.number),
        metrics={k: scores.finite_or_none(v) for k, v in found.metrics.items()},
        examples=found.examples,
        truncated=found.truncated,
    )


def _steps(
    request: Request, run: trained.TrainedRun, names: Sequence[str]
) -> dict[str, int]:
    """Returns the step at which each task is to be scored."""
    if request.step != BEST:
        return dict.fromkeys(names, run.check_step(request.step))
    downstream_record = run.record.downstream
    best = downstream_record.tasks if downstream_record else {}
    missing = [name for name in names if name not in best]
    if missing:
        raise errors.ConfigError(
            f"--step best: {request.run} was not scored on {', '.join(missing)} "
            "during training; give the number of a step"
        )
    return {
        name: run.check_step(best[name].best_step, f", the best of {name}")
        for name in names
    }


def _step(text: str) -> int | str:
    """Parses --step; raises OptionError if it is wrong."""
    if text == BEST:
        return text
    try:
        return ranges.Whole()(text)
    except OptionError as error:
        raise OptionError(f"{error}, or {BEST}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments; None for those of the process.

    Returns:
        The exit code.
    """
    parser = argparse.ArgumentParser(
        prog="clinometer evaluate",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    prediction_arguments.add_run(parser)
    parser.add_argument(
        "--mixture",
        help="comma-separated names of mixtures and tasks; default those of the run",
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder with the files of the task releases; default that of the run",
    )
    parser.add_argument(
        "--step",
        type=_step,
        help='step of the checkpoint, or "best" for the best checkpoint of each task; '
        "default the newest",
    )
    for name, least in (("encoder", 2), ("decoder", 1)):
        parser.add_argument(
            f"--{name}-length",
            type=ranges.Whole(least, data_fields.MOST_TOKENS),
            help=f"{name} length in tokens; default that of the run",
        )
    prediction_arguments.add_predictions(
        parser,
        downstream_options.METHODS,
        downstream_options.RANGES,
        prediction_arguments.meaning_of("decoding"),
    )
    parser.add_argument(
        "--likelihood",
        action="store_true",
        help=prediction_arguments.meaning_of("likelihood"),
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    hosts_options.add_to(parser)
    arguments = parser.parse_args(argv)
    library_noise.log_warnings()
    options = downstream_options.PredictionOptions(
        **prediction_arguments.given(arguments)
    )

    def prepare() -> Request:
        devices.check()
        return Request(
            paths.resolved(arguments.run),
            arguments.mixture,
            arguments.data,
            arguments.store,
            arguments.step,
            arguments.encoder_length,
            arguments.decoder_length,
            options,
            arguments.mesh,
        )

    def work(session: session_lib.Session) -> int:
        request = agreement.prepared(session.group, prepare, _agreed_fields)
        if not session.is_first:
            evaluate(request, writes=False)
            return session.group.broadcast()
        with terminal.Line(seconds=math.inf) as line:  # Only on a terminal.
            added = evaluate(request, line.say)
        return session.group.broadcast(_report(request.run, added, arguments.json))

    return session_lib.run("clinometer evaluate", arguments, work)


def _agreed_fields(request: Request) -> dict[str, Any]:
    """Returns what must be the same in all processes; the places of data may differ."""
    fields = dataclasses.asdict(request)
    return {k: v for k, v in fields.items() if k not in ("folder", "store")}


def _report(run: paths.AnyPath, added: run_record.Evaluation, as_json: bool) -> int:
    """Prints and records an evaluation; returns the exit code."""
    if as_json:
        print(json_file.dumps(added.to_json(), indent=1))
    else:
        print(evaluation_table.table(added))
    try:
        record(run, added)
    except errors.RunHeldError as error:
        print(f"clinometer evaluate: not recorded: {error}", file=sys.stderr)
        return exit_codes.HELD
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main())
