"""Training and evaluation data of a run."""

from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import hashlib
from typing import Any
from typing import Protocol

from ml_collections import config_dict
import numpy as np

from clinometer import models
from clinometer.data import errors as data_errors
from clinometer.data import paths
from clinometer.data.mixtures import batches as finetune_batches
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.mixtures import tokenized_examples
from clinometer.data.pretraining import batches as batches_lib
from clinometer.data.store import token_store
from clinometer.data.tasks import registry
from clinometer.train import errors
from clinometer.train.downstream import examples as downstream_examples
from clinometer.train.downstream import options as downstream_options
from clinometer.train.downstream import scorer as downstream
from clinometer.train.run import checkpoints
from clinometer.train.run import record as run_record

Batch = dict[str, np.ndarray]


class TrainingBatches(Protocol):
    """An infinite sequence of batches; each batch is a function of its step."""

    def iterate(
        self, start_step: int = 0, rows: Sequence[int] | None = None
    ) -> Iterator[Batch]:
        """Yields each batch, or some of its rows.

        Args:
            start_step: step of the first batch.
            rows: indices of rows of each batch; None for all.
        """


@dataclasses.dataclass(frozen=True)
class Source:
    """The data of a run.

    Attributes:
        shape: shape of an example, as passed to the model's `abstract_batch`.
        tokens_per_row: number of tokens per example, padding included (S + T for text);
            used for tokens per second.
        batches: the training batches.
        eval_batches: the fixed set of batches for the validation loss.
        identity: flat fields that must be unchanged when the run is resumed.
        describe: function from the number of completed steps to the description of the
            data in the run's record.
        scorer: scores the downstream tasks at every evaluation; None in pretraining.
    """

    shape: models.Shape
    tokens_per_row: int
    batches: TrainingBatches
    eval_batches: Iterable[Batch]
    identity: Mapping[str, Any]
    describe: Callable[[int], run_record.Data]
    scorer: downstream.Scorer | None = None

    @property
    def best_by(self) -> Mapping[str, str]:
        """Metrics that rank checkpoints, with "min" or "max" for which is best."""
        if self.scorer is None:
            return checkpoints.VALIDATION_LOSS
        return {downstream.PREFIX + name: "max" for name in self.scorer.names}


def open_store(
    path: str | None, option: str = "config.data.store"
) -> token_store.TokenStore:
    """Opens a token store.

    Args:
        path: the store's folder; None or empty if it was not given.
        option: name of the option or field that gave the path, for messages.

    Raises:
        ConfigError: no path was given, or there is no readable token store.
    """
    if not path:
        raise errors.ConfigError(
            f"{option}: missing; give the folder of a token store "
            "(`clinometer tokenize` makes one)"
        )
    try:
        return token_store.TokenStore.open(path)
    except data_errors.DataError as error:
        raise errors.ConfigError(f"{option}: {error}") from error


def pretraining(config: config_dict.ConfigDict) -> Source:
    """Returns the data of a pretraining run: span-corrupted rows of a token store.

    Args:
        config: see `configs/pretrain.py`.

    Raises:
        RunError: a field of `config.data` or `config.eval` is wrong.
    """
    store = open_store(config.data.store)
    settings = {
        "make_batch": models.batch.make,
        "batch_size": config.data.batch_size,
        "encoder_length": config.data.encoder_length,
        "noise_density": config.data.noise_density,
        "mean_noise_span_length": config.data.mean_noise_span_length,
    }
    try:
        batches = batches_lib.PretrainBatches(store, seed=config.data.order, **settings)
        eval_batches = batches_lib.EvalBatches(
            store, max_rows=config.eval.max_rows, **settings
        )
    except data_errors.DataError as error:
        raise errors.ConfigError(f"config.data: {error}") from error

    def describe(step: int) -> run_record.Data:
        seen = step * config.data.batch_size * batches.lengths.raw
        return run_record.Data(
            store=paths.absolute(config.data.store),
            corpus_hash=store.manifest.corpus_hash,
            python_version=store.manifest.python_version,
            vocabulary_sha256=store.vocabulary.sha256,
            order_protocol=batches_lib.ORDER_PROTOCOL,
            train_tokens=store.manifest.splits["train"]["tokens"],
            tokens_seen=seen,
            unique_tokens_seen=min(seen, batches.num_rows * batches.lengths.raw),
            epochs=batches.epoch(step),
        )

    return Source(
        shape=models.TextShape(batches.lengths.inputs, batches.lengths.targets),
        tokens_per_row=batches.lengths.inputs + batches.lengths.targets,
        batches=batches,
        eval_batches=eval_batches,
        identity={
            "data.corpus_hash": store.manifest.corpus_hash,
            "data.vocabulary_sha256": store.vocabulary.sha256,
        },
        describe=describe,
    )


def finetuning(config: config_dict.ConfigDict, model: models.EncoderDecoder) -> Source:
    """Returns the data of a fine-tuning run: a mixture of text-to-text tasks.

    Args:
        config: see `configs/finetune.py`.
        model: the model to decode with when the tasks are scored.

    Raises:
        RunError: a field of `config.data` or `config.eval`, or a data file, is wrong.
    """
    data, evaluation = config.data, config.eval
    options = downstream_options.PredictionOptions(
        **{
            field.name: evaluation[field.name]
            for field in dataclasses.fields(downstream_options.PredictionOptions)
        }
    )
    vocabulary = open_store(data.store).vocabulary
    options.check("config.eval.", vocabulary.size)
    if not data.mixture:
        raise errors.ConfigError(
            "config.data.mixture: missing; accepted: comma-separated names of mixtures "
            f"({', '.join(mixtures.MIXTURES)}) and tasks"
        )
    try:
        given = mixtures.expand(data.mixture, registry.names())
        tasks = {name: registry.get(name) for name in given}
        rates = mixtures.proportional(
            {name: task.train_examples for name, task in tasks.items()},
            limit=data.rate_limit,
            temperature=data.temperature,
        )
        rates |= {name: rate for name, rate in given.items() if rate is not None}
        lengths = {
            "encoder_length": data.encoder_length,
            "decoder_length": data.decoder_length,
        }

        examples = {
            split: downstream_examples.labelled(list(given), data.folder, split)
            for split in ("train", downstream_examples.SPLIT)
        }
        train, validation = (
            {
                name: tokenized_examples.tokenize(
                    found,
                    vocabulary,
                    parse_sentinels=tasks[name].sentinels,
                    **lengths,
                )
                for name, found in of_split.items()
            }
            for of_split in examples.values()
        )
        settings = {
            "make_batch": models.batch.make,
            "batch_size": data.batch_size,
            "packing": data.packing,
            **lengths,
        }
        batches = finetune_batches.FinetuneBatches(
            train, rates, seed=data.order, **settings
        )
        eval_batches = finetune_batches.FinetuneEvalBatches(
            validation, max_rows=evaluation.max_rows, **settings
        )
    except data_errors.DataError as error:
        raise errors.ConfigError(f"config.data: {error}") from error
    scorer = downstream.Scorer(
        model,
        vocabulary,
        examples[downstream_examples.SPLIT],
        **lengths,
        options=options,
    )
    majority = {
        name: downstream_examples.majority(
            task, examples["train"][name], examples[downstream_examples.SPLIT][name]
        )
        for name, task in tasks.items()
    }

    def describe(step: int) -> run_record.Data:
        return run_record.Data(
            store=paths.absolute(data.store),
            folder=data.folder and paths.absolute(data.folder),
            vocabulary_sha256=vocabulary.sha256,
            epochs=batches.epoch(step),
            tasks={
                tasks[name].name: run_record.TaskData(
                    rate=float(rates[name]),
                    train_examples=len(train[name]),
                    majority=majority[name],
                    truncated_inputs=train[name].truncated_inputs,
                    truncated_targets=train[name].truncated_targets,
                    epochs=epochs,
                )
                for name, epochs in batches.task_epochs(step).items()
            },
        )

    digest = hashlib.sha256()
    for name, tokenized in train.items():
        for part in (tokenized.inputs, tokenized.targets):
            digest.update(name.encode() + part.offsets.tobytes() + part.flat.tobytes())
    return Source(
        shape=models.TextShape(
            data.encoder_length, data.decoder_length, packed=data.packing
        ),
        tokens_per_row=data.encoder_length + data.decoder_length,
        batches=batches,
        eval_batches=eval_batches,
        identity={
            "data.examples_sha256": digest.hexdigest()[:16],
            "data.vocabulary_sha256": vocabulary.sha256,
        },
        describe=describe,
        scorer=scorer,
    )
