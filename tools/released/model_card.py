"""The model card, `README.md`, of an exported model."""

from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses

import clinometer
from clinometer.tools.released import study_line
from clinometer.train.run import record as run_record


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a card says that the record of the run does not.

    Attributes:
        run: name of the run's folder.
        step: step of the checkpoint.
        is_hub: whether `transformers` loads the files.
        remarks: what a reader of the files must know, in sentences.
        study: the study that the run belongs to, if any.
    """

    run: str
    step: int
    is_hub: bool
    remarks: Sequence[str]
    study: study_line.StudyLine | None


def text(record: run_record.Record, facts: Facts) -> str:
    """Returns the card as Markdown.

    Args:
        record: the record of the run.
        facts: the rest.
    """
    return "\n".join(_lines(record, facts)) + "\n"


def _lines(record: run_record.Record, facts: Facts) -> Iterator[str]:
    library = "transformers" if facts.is_hub else "clinometer"
    yield from ("---", f"library_name: {library}", "tags:", "- clinometer", "---", "")
    yield from (f"# {record.model}", "")
    yield (
        f"Exported by Clinometer {clinometer.__version__} from the run `{facts.run}` "
        f"at step {facts.step:,}."
    )
    yield from ("", *facts.remarks) if facts.remarks else ()
    yield from ("", "## Counts", "", "| | |", "|---|---|")
    yield from _counts(record.counts)
    yield from ("", "## Training and data", "")
    yield from _training(record)
    yield from ("", "## Measurements", "")
    yield from _measured(record)
    if facts.study is not None:
        yield from ("", "## Study", "")
        yield f"The run is part of the study `{facts.study.name}`. {facts.study.text}"


def _counts(counts: run_record.Counts) -> Iterator[str]:
    rows = (
        ("parameters", counts.params_total),
        ("of these, in embeddings", counts.params_embedding),
        ("of these, used by a token", counts.params_active),
    )
    for name, value in rows:
        if value is not None:
            yield f"| {name} | {value:,} |"
    if counts.flops_forward and counts.batch_size:
        per_example = counts.flops_forward / counts.batch_size
        yield (
            f"| FLOPs of a forward pass, {counts.encoder_length} + "
            f"{counts.decoder_length} tokens | {per_example:.4g} |"
        )


def _training(record: run_record.Record) -> Iterator[str]:
    if record.converted is not None:
        yield "Not trained by Clinometer, but converted from these files (SHA-256):"
        yield ""
        for name, digest in record.converted.files.items():
            yield f"- `{name}`: {digest}"
        return
    data, config = record.data, record.config
    optimizer = config.optimizer.get("name")
    yield f"- kind: {record.kind}, {record.status}"
    if config.train_steps is not None:
        yield f"- steps: {config.train_steps:,} with {optimizer}, seed {record.seed}"
    if config.schedule.learning_rate is not None:
        yield f"- learning rate: {config.schedule.learning_rate:g}"
    if data.tokens_seen is not None:
        yield f"- tokens seen: {data.tokens_seen:,} in {data.epochs or 0:.3g} epochs"
    if data.corpus_hash is not None:
        yield f"- corpus: SHA-256 {data.corpus_hash}"
    if data.tasks is not None:
        yield f"- tasks: {', '.join(sorted(data.tasks))}"
    yield f"- vocabulary: SHA-256 {data.vocabulary_sha256}"


def _measured(record: run_record.Record) -> Iterator[str]:
    rows = []
    if record.metrics.validation_loss is not None:
        loss = record.metrics.validation_loss
        rows.append(f"- validation loss: {loss:.4f} nats per token")
    if record.speed.steps_per_second_median is not None:
        kind = record.device.kind or record.device.platform
        speed = record.speed.steps_per_second_median
        rows.append(f"- training: {speed:.3g} steps/s on {kind}")
    if record.downstream is not None:
        for name, score in record.downstream.tasks.items():
            best = f"{score.best:.1f} at step {score.best_step:,}"
            rows.append(f"- {name}: {best}, {_interval(score.low, score.high)}")
    for evaluation in record.evaluations:
        for name, scored in evaluation.tasks.items():
            if scored.score is not None:
                within = _interval(scored.low, scored.high)
                step = f"at step {scored.step or 0:,}"
                rows.append(f"- {name}: {scored.score:.1f} {step}, {within}")
    yield from rows or ["None."]


def _interval(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "without an interval"
    return f"95 % interval {low:.1f} to {high:.1f}"
