"""Builds the commands of a study: pretraining, fine-tuning, few-shot evaluation."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import pathlib

from ml_collections import config_dict

from clinometer import models
from clinometer.data.pretraining import span_corruption
from clinometer.kernels import python_child
from clinometer.models.counting import checked
from clinometer.models.counting import counts
from clinometer.models.vision import counts as vision_counts
from clinometer.tools.study import folder
from clinometer.tools.study import plan
from clinometer.tools.study import protocol as protocol_lib
from clinometer.tools.study import source as source_lib
from clinometer.tools.study import sweep
from clinometer.train import config as config_lib
from clinometer.train.downstream import finetune
from clinometer.train.run import directory as run_directory
from clinometer.train.run import recorded_config


@dataclasses.dataclass(frozen=True)
class RunCommand:
    """A command that pretrains, fine-tunes or scores a model.

    Attributes:
        name: for messages.
        folder: the run directory that the command writes.
        arguments: of Python; each executor has its own interpreter.
        model: the model's name.
        finished: whether the run was over before this command of the study: finished or
            diverged.
        trains: whether the command trains, rather than scores.
    """

    name: str
    folder: pathlib.Path
    arguments: tuple[str, ...]
    model: str
    finished: bool = False
    trains: bool = True

    @property
    def command(self) -> tuple[str, ...]:
        """The command with the interpreter of this process."""
        return python_child.command(*self.arguments)


def pretraining(
    options: argparse.Namespace, run: plan.PlannedRun, source: str
) -> RunCommand:
    """Returns the pretraining of a run.

    Args:
        options: options of the command.
        run: the planned run, whose learning rate is known.
        source: path of the token store, or folder of the images.
    """
    protocol = options.study.protocol
    arguments = (
        "-m",
        "clinometer.train.main",
        f"--config={protocol_lib.config_argument(protocol, run)}",
        f"--workdir={run_folder(options, run)}",
        *protocol_lib.overrides(protocol, run, source),
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
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun], source: str
) -> list[RunCommand]:
    """Returns one pretraining per run.

    Args:
        options: options of the command.
        runs: the planned runs, whose learning rates are known.
        source: path of the token store, or folder of the images.

    Raises:
        StudyError: a run's folder holds a run with another config or other data.
    """
    data = source_lib.hashes(options.study.protocol, source)
    protocol = options.study.protocol
    found = []
    for run in runs:
        config = config_lib.load(
            protocol_lib.config_argument(protocol, run),
            protocol_lib.overrides(protocol, run, source),
        )
        found.append(_compared(pretraining(options, run, source), config, data))
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


def scorings(
    options: argparse.Namespace, runs: Sequence[plan.PlannedRun], source: str
) -> list[RunCommand]:
    """Returns the few-shot evaluation of each finished run of images; none of texts.

    Args:
        options: options of the command.
        runs: the planned runs.
        source: folder of the images that they were trained on.
    """
    protocol = options.study.protocol
    found = []
    for run in runs if protocol.of_images else ():
        place = run_folder(options, run)
        if folder.has_finished(place):
            scored = protocol.fewshot.is_of(run_directory.RunDirectory(place).record())
            work = scoring(options, run, source)
            found.append(dataclasses.replace(work, finished=scored))
    return found


def scoring(
    options: argparse.Namespace, run: plan.PlannedRun, source: str
) -> RunCommand:
    """Returns the few-shot evaluation of a run of images.

    Args:
        options: options of the command.
        run: the planned run.
        source: folder of the images that it was trained on.
    """
    place = run_folder(options, run)
    scored = options.study.protocol.fewshot.arguments(source)
    arguments = ("-m", "clinometer.train.fewshot.main", str(place), *scored)
    name = f"{run.name} few-shot"
    return RunCommand(name, place, arguments, run.model, trains=False)


def _compared(
    work: RunCommand, config: config_dict.ConfigDict, data: Mapping[str, str]
) -> RunCommand:
    flat = config_lib.flatten(config_lib.to_dict(config))
    finished = folder.is_over(work.folder, flat, data)
    return dataclasses.replace(work, finished=finished)


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
) -> checked.TransformerCounts | vision_counts.VisionCounts:
    """Counts a model at the batch size and lengths of the study's pretraining.

    Args:
        options: of the command.
        model: the model's name.
        trace: whether to check the counts against the traced program.

    Raises:
        ValueError: there is no such model, or it is of texts in a study of images or
            the reverse.
        DataError: no row of text has inputs of the encoder's length.
    """
    shape = options.study.protocol
    if models.takes_images(model) != shape.of_images:
        other, own = ("texts", "images") if shape.of_images else ("images", "texts")
        raise ValueError(
            f"a model of {other}, but config.protocol.kind is {shape.kind!r}, of {own}"
        )
    if shape.of_images:
        fields = source_lib.model_fields(shape)
        return counts.count(model, batch_size=shape.batch_size, trace=trace, **fields)
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
