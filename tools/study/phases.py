"""Builds the commands of a study's two phases, pretraining and fine-tuning."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib

from ml_collections import config_dict

from clinometer.data import errors as data_errors
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.pretraining import span_corruption
from clinometer.data.tasks import load
from clinometer.data.tasks import probes
from clinometer.data.tasks import registry
from clinometer.kernels import python_child
from clinometer.models.counting import checked
from clinometer.models.counting import counts
from clinometer.tools.study import folder
from clinometer.tools.study import plan
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study import sweep
from clinometer.train import config as config_lib
from clinometer.train import errors as train_errors
from clinometer.train import sources
from clinometer.train.downstream import finetune
from clinometer.train.run import directory as run_directory
from clinometer.train.run import recorded_config


@dataclasses.dataclass(frozen=True)
class RunCommand:
    """A command that pretrains or fine-tunes a model.

    Attributes:
        name: for messages.
        folder: the run directory that the command writes.
        arguments: of Python; each executor has its own interpreter.
        model: the model's name.
        finished: whether the run was over before this command of the study: finished or
            diverged.
    """

    name: str
    folder: pathlib.Path
    arguments: tuple[str, ...]
    model: str
    finished: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """The command with the interpreter of this process."""
        return python_child.command(*self.arguments)


def pretraining(
    options: argparse.Namespace, run: plan.PlannedRun, store: str
) -> RunCommand:
    """Returns the pretraining of a run.

    Args:
        options: options of the command.
        run: the planned run, whose learning rate is known.
        store: path of the token store.
    """
    arguments = (
        "-m",
        "clinometer.train.main",
        f"--config={protocol_lib.config_argument(run)}",
        f"--workdir={run_folder(options, run)}",
        *protocol_lib.overrides(options.study.protocol, run, store),
    )
    return RunCommand(run.name, run_folder(options, run), arguments, run.model)


def finetuning(
    options: argparse.Namespace,
    run: plan.PlannedRun,
    store: str,
    tuning: protocol_lib.Finetuning,
) -> RunCommand:
    """Returns a fine-tuning of a run.

    Args:
        options: options of the command.
        run: the planned run.
        store: path of the token store.
        tuning: the fine-tuning.
    """
    settings = tuning.settings
    source = run_folder(options, run)
    workdir = run_directory.RunDirectory(source).finetunings_path / tuning.name
    arguments = (
        "-m",
        "clinometer.train.downstream.finetune",
        f"--from={source}",
        f"--mixture={settings.mixture}",
        *([f"--data={settings.data}"] if settings.data else []),
        f"--store={store}",
        f"--workdir={workdir}",
        *protocol_lib.downstream_overrides(options.study.protocol, run, settings),
    )
    name = f"{run.name} fine-tuning"
    if tuning.name != protocol_lib.FINETUNING:
        name += f" {tuning.name}"
    return RunCommand(name, workdir, arguments, run.model)


def pretrainings(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun], store: str
) -> list[RunCommand]:
    """Returns the pretrainings of all runs.

    Args:
        options: of the command.
        runs: the planned runs.
        store: path of the token store.

    Raises:
        StudyError: a run's folder holds a run with another config or corpus.
    """
    corpus = corpus_of(store)
    found = []
    for run in runs:
        config = config_lib.load(
            protocol_lib.config_argument(run),
            protocol_lib.overrides(options.study.protocol, run, store),
        )
        found.append(_compared(pretraining(options, run, store), config, corpus))
    return found


def finetunings(
    options: argparse.Namespace,
    runs: Sequence[plan.PlannedRun],
    store: str,
    tuning: protocol_lib.Finetuning,
) -> list[RunCommand]:
    """Returns one fine-tuning of all its runs whose pretraining is finished.

    Args:
        options: of the command.
        runs: the planned runs.
        store: path of the token store.
        tuning: the fine-tuning.

    Raises:
        StudyError: a fine-tuning's folder holds one with another config.
    """
    protocol, settings = options.study.protocol, tuning.settings
    found = []
    for run in runs:
        source = run_folder(options, run)
        if tuning.is_of(run.model) and folder.has_finished(source):
            config = finetune.make_config(
                str(source),
                settings.mixture,
                settings.data,
                store=store,
                overrides=protocol_lib.downstream_overrides(protocol, run, settings),
            )
            work = finetuning(options, run, store, tuning)
            found.append(_compared(work, config, {}))
    return found


def corpus_of(store: str) -> dict[str, str]:
    """Returns `corpus_hash` and `vocabulary_sha256` of a token store.

    Raises:
        ConfigError: there is no store.
    """
    manifest = sources.open_store(store, "--store").manifest
    return {
        "corpus_hash": manifest.corpus_hash,
        "vocabulary_sha256": manifest.vocabulary["sha256"],
    }


def _compared(
    work: RunCommand, config: config_dict.ConfigDict, corpus: Mapping[str, str]
) -> RunCommand:
    flat = config_lib.flatten(config_lib.to_dict(config))
    finished = folder.is_over(work.folder, flat, corpus)
    return dataclasses.replace(work, finished=finished)


def check_downstream(options: argparse.Namespace) -> None:
    """Checks the downstream tasks and their files before anything is trained.

    Raises:
        ConfigError: a task is unknown or its files are missing.
    """
    for tuning in options.study.protocol.finetunings:
        settings = tuning.settings
        place = f"--downstream {settings.mixture}"
        if tuning.name != protocol_lib.FINETUNING:
            place = f"config.finetunings.{tuning.name}.mixture {settings.mixture}"
        try:
            for name in mixtures.expand(settings.mixture, registry.names()):
                task = registry.get(name)
                if task.benchmark == probes.BENCHMARK:
                    continue
                if settings.data is None:
                    raise train_errors.ConfigError(
                        f"{place}: {name} needs the files of its release; give their "
                        "folder with --data DIR"
                    )
                for split in ("train", "validation"):
                    load.find(task, settings.data, split)
        except data_errors.DataError as error:
            raise train_errors.ConfigError(f"{place}: {error}") from error


def costs(options: argparse.Namespace, work: list[RunCommand]) -> dict[str, float]:
    """Returns the train-step FLOPs of each work, by name, at the study's batch size.

    Traces every model, which checks it.
    """
    by_model = {
        model: count(options, model, trace=True).flops_train_step
        for model in {one.model for one in work}
    }
    return {one.name: float(by_model[one.model]) for one in work}


def count(
    options: argparse.Namespace, model: str, *, trace: bool = False
) -> checked.TransformerCounts:
    """Counts a model at the batch size and lengths of the study's pretraining.

    Args:
        options: of the command.
        model: the model's name.
        trace: whether to check the counts against the traced program.

    Raises:
        ValueError: there is no such model.
        DataError: no row of text has inputs of the encoder's length.
    """
    shape = options.study.protocol
    # The noise is the trainer's default, which no study changes.
    lengths = span_corruption.raw_length(shape.encoder_length)
    return counts.count(
        model,
        batch_size=shape.batch_size,
        encoder_length=lengths.inputs,
        decoder_length=lengths.targets,
        trace=trace,
        vocab_size=shape.vocab_size,
    )


def count_finetuning(
    options: argparse.Namespace, model: str, settings: protocol_lib.DownstreamSettings
) -> checked.TransformerCounts:
    """Counts a model at the batch size and lengths of a fine-tuning.

    Args:
        options: of the command.
        model: the model's name.
        settings: of the fine-tuning.
    """
    shape = options.study.protocol
    return counts.count(
        model,
        batch_size=protocol_lib.downstream_rows(shape, model, settings),
        encoder_length=shape.encoder_length,
        decoder_length=settings.decoder_length,
        trace=False,
        vocab_size=shape.vocab_size,
    )


def run_folder(options: argparse.Namespace, run: plan.PlannedRun) -> pathlib.Path:
    """Returns the directory of a run."""
    if run.role == recorded_config.SWEEP:
        return sweep.folder_of(options.out, run)
    return options.out / "runs" / run.name
