"""Scores a run's checkpoints on downstream tasks: `clinometer evaluate`."""

import argparse
from collections.abc import Callable
from collections.abc import Sequence
import dataclasses
import logging
import math
import pathlib
import sys

import jax

from clinometer import models
from clinometer.data import errors as data_errors
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.tasks import registry
from clinometer.data.tasks import scores
from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train import fields
from clinometer.train import initial
from clinometer.train import sources
from clinometer.train import state as state_lib
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import options as downstream_options
from clinometer.train.downstream import scorer as downstream
from clinometer.train.host import library_noise
from clinometer.train.run import checkpoints as checkpoints_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file
from clinometer.train.run import record as run_record
from clinometer.train.run import store_search

BEST = "best"

_DESCRIPTION = """\
Scores checkpoints of a run on downstream tasks, as T5 does. Writes the scores into the
run's record (run.json, "evaluations") and the predictions into its folder; where these
cannot be written, the scores are printed all the same. Examples:

  clinometer evaluate runs/base/finetune/glue --mixture glue --data DIR --step best
  clinometer evaluate runs/base/finetune/boolq --mixture boolq --data DIR \\
      --decoding rank --json
"""
_EXIT_CODES = exit_codes.described(
    {
        exit_codes.HELD: "scored and printed, but not recorded, as another process "
        "trains this run"
    }
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is to be scored.

    Attributes:
        run: the run's directory.
        mixture: names of mixtures and tasks; None for the run's own.
        folder: of the releases' files; None for the run's own.
        store: where the run's store lies; None to look where it was and beside.
        step: of a checkpoint; None for the newest; "best" for each task's best.
        encoder_length: S; None for the run's own.
        decoder_length: T; None for the run's own.
        options: how predictions are made.
    """

    run: pathlib.Path
    mixture: str | None
    folder: str | None
    store: str | None
    step: int | str | None
    encoder_length: int | None
    decoder_length: int | None
    options: downstream_options.PredictionOptions


def evaluate(
    request: Request, say: Callable[[str], None] = lambda text: None
) -> run_record.Evaluation:
    """Scores a run, writes its predictions, and returns what `record` adds.

    Args:
        request: what is to be scored.
        say: told what is going on.

    Raises:
        RunError: no such run, checkpoint, task or file; an option out of range.
    """
    directory = run_directory.RunDirectory(request.run)
    record = initial.read_record(request.run)
    model, optimizer = initial.built(record)
    data = record.config.data
    mixture = data.mixture if request.mixture is None else request.mixture
    if mixture is None:
        raise errors.ConfigError("--mixture: missing; this run has none of its own")
    path = store_search.of_run(record, request.run, request.store)
    store = sources.open_store(path)
    request.options.check("--", store.vocabulary.size)
    folder = request.folder or record.data.folder
    try:
        names = list(mixtures.expand(mixture, registry.names()))
    except data_errors.DataError as error:
        raise errors.ConfigError(f"--mixture: {error}") from error
    abstract = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, seed=0))
    encoder_length = request.encoder_length or data.encoder_length
    decoder_length = (
        request.decoder_length or data.decoder_length or record.counts.decoder_length
    )
    _check_takes(model, models.TextShape(encoder_length, decoder_length))
    scorer = downstream.Scorer(
        model,
        store.vocabulary,
        downstream_examples.labelled(names, folder),
        encoder_length=encoder_length,
        decoder_length=decoder_length,
        options=request.options,
    )
    reader = directory.checkpoints(read_only=True)
    steps = _steps(request, record, reader, scorer.names)
    evaluated_at = run_record.now()
    tasks: dict[str, run_record.EvaluatedTask] = {}
    numbers: dict[str, float] = {}
    sequences_per_second = None  # of the last step
    for step in sorted(set(steps.values())):
        chosen = [name for name in scorer.names if steps[name] == step]
        result = scorer(reader.read(step, abstract).params, say, chosen)
        place = directory.evaluation_path(request.options.decoding, step)
        try:
            scorer.write_predictions(result, place)
        except OSError as error:
            logging.warning("%s: the predictions are not written: %s", place, error)
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


def record(run: pathlib.Path, added: run_record.Evaluation) -> None:
    """Adds an evaluation to a run's record; warns where that cannot be written.

    Raises:
        RunHeldError: another process trains the run, and writes its record.
    """
    try:
        directory = run_directory.RunDirectory(run)
        with directory.lease():  # The trainer writes the record, too.
            found = directory.record()
            evaluations = (*found.evaluations, added)
            directory.write_record(dataclasses.replace(found, evaluations=evaluations))
    except OSError as error:
        logging.warning("%s: the scores are printed, not recorded: %s", run, error)


def table(added: run_record.Evaluation) -> str:
    """Returns the scores as text, one line a task."""
    rows = []
    for name, found in added.tasks.items():
        metrics = ", ".join(f"{k} {_text(v)}" for k, v in found.metrics.items())
        cut = f"; {found.truncated} inputs cut" if found.truncated else ""
        rows.append(
            (
                name,
                _text(found.score),
                _text(found.standard_error),
                str(found.step),
                str(found.examples),
                metrics + cut,
            )
        )
    for name, average in added.averages.items():
        mean, error = _text(average.value), _text(average.standard_error)
        rows.append((f"{name} (mean)", mean, error, "", "", ""))
    head = ("task", "score", "+-", "step", "examples", "metrics")
    lines = terminal.table(rows, head, left=(0, 5), widths=(18, 6, 4, 7, 8))
    lines.append(
        "percent; +- is one standard error; "
        f"{added.sequences_per_second:,.1f} sequences/s, "
        f"{added.options['decoding']} decoding"
    )
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _check_takes(model: models.EncoderDecoder, shape: models.TextShape) -> None:
    """Raises ConfigError where the model does not take texts of these lengths."""
    try:
        model.check(shape)
    except models.ConfigError as error:
        raise errors.ConfigError(
            f"--encoder-length: {shape.encoder_length} does not suit {model.name}: "
            f"{error}"
        ) from error


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
    request: Request,
    record: run_record.Record,
    reader: checkpoints_lib.Checkpoints,
    names: Sequence[str],
) -> dict[str, int]:
    """Returns the step at which each task is to be scored."""
    kept = reader.steps
    listed = ", ".join(map(str, kept)) or "none"
    if request.step == BEST:
        best = record.downstream.tasks if record.downstream else {}
        missing = [name for name in names if name not in best]
        if missing:
            raise errors.ConfigError(
                f"--step best: {request.run} was never scored on {', '.join(missing)} "
                "while it trained; name a step"
            )
        steps = {name: best[name].best_step for name in names}
    else:
        step = request.step if request.step is not None else max(kept, default=None)
        steps = dict.fromkeys(names, step)
    for name, step in steps.items():
        if step not in kept:
            best_of = f", the best of {name}" if request.step == BEST else ""
            which = "" if step is None else f" of step {step}{best_of}"
            raise errors.ConfigError(
                f"--step: {request.run} has no checkpoint{which}; it has {listed}"
            )
    return steps


def _step(text: str) -> int | str:
    """Reads --step; raises OptionError."""
    if text == BEST:
        return text
    try:
        return ranges.Whole()(text)
    except OptionError as error:
        raise OptionError(f"{error}, or {BEST}") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    defaults = downstream_options.PredictionOptions()
    parser = argparse.ArgumentParser(
        prog="clinometer evaluate",
        description=_DESCRIPTION,
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", help="a run's directory")
    parser.add_argument("--mixture", help="tasks and mixtures; default the run's own")
    parser.add_argument("--data", metavar="DIR", help="folder of the releases")
    parser.add_argument(
        "--store",
        metavar="DIR",
        help="where the run's token store lies, if neither where it was nor moved "
        "together with the run",
    )
    parser.add_argument(
        "--step",
        type=_step,
        help='of a checkpoint, or "best" for each task\'s; default the newest',
    )
    for name, least in (("encoder", 2), ("decoder", 1)):
        parser.add_argument(
            f"--{name}-length",
            type=ranges.Whole(least, fields.MOST_TOKENS),
            help="default the run's own",
        )
    parser.add_argument(
        "--decoding", choices=downstream_options.METHODS, default=defaults.decoding
    )
    for name, accepted in downstream_options.RANGES.items():
        value = getattr(defaults, name)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=accepted,
            default=value,
            help=f"{accepted}; default {'all' if value is None else value}",
        )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    arguments = parser.parse_args(argv)
    library_noise.log_warnings()
    options = downstream_options.PredictionOptions(
        **{f.name: getattr(arguments, f.name) for f in dataclasses.fields(defaults)}
    )
    run = pathlib.Path(arguments.run).resolve()
    try:
        devices.check()
        request = Request(
            run,
            arguments.mixture,
            arguments.data,
            arguments.store,
            arguments.step,
            arguments.encoder_length,
            arguments.decoder_length,
            options,
        )
        with terminal.Line(seconds=math.inf) as line:  # Only on a terminal.
            added = evaluate(request, line.say)
    except (errors.RunError, data_errors.DataError, OptionError) as error:
        print(f"clinometer evaluate: error: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    if arguments.json:
        print(json_file.dumps(added.to_json(), indent=1))
    else:
        print(table(added))
    try:
        record(run, added)
    except errors.RunHeldError as error:
        print(f"clinometer evaluate: not recorded: {error}", file=sys.stderr)
        return exit_codes.HELD
    return exit_codes.DONE


if __name__ == "__main__":
    sys.exit(main())
