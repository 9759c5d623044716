"""What a study has to do: pretrain each run, then fine-tune it."""

import argparse
from collections.abc import Mapping
import dataclasses
import pathlib

from ml_collections import config_dict

from clinometer.data import errors as data_errors
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.tasks import load
from clinometer.data.tasks import probes
from clinometer.data.tasks import registry
from clinometer.kernels import python_child
from clinometer.models.counting import checked
from clinometer.models.counting import counts
from clinometer.tools.study import folder
from clinometer.tools.study import plan
from clinometer.tools.study import protocol as protocol_lib
from clinometer.train import config as config_lib
from clinometer.train import errors as train_errors
from clinometer.train import sources
from clinometer.train.downstream import finetune
from clinometer.train.run import directory as run_directory

# The folder of a study's own fine-tuning, beside those that its user makes.
FINETUNING = "study"


@dataclasses.dataclass(frozen=True)
class RunCommand:
    """A command that fills a folder with a run."""

    name: str
    folder: pathlib.Path
    command: tuple[str, ...]
    model: str
    finished: bool = False  # before this study


def protocol(options: argparse.Namespace) -> protocol_lib.Protocol:
    """What the options make of the protocol."""
    return protocol_lib.Protocol(
        train_steps=options.steps,
        learning_rate=options.learning_rate,
        downstream=protocol_lib.DownstreamSettings(
            mixture=options.downstream,
            data=None if options.data is None else str(options.data),
            train_steps=options.downstream_steps,
        ),
    )


def pretraining(
    options: argparse.Namespace, run: plan.PlannedRun, store: str
) -> RunCommand:
    """The pretraining of a run."""
    command = python_child.module(
        "clinometer.train.main",
        f"--config={protocol_lib.config_argument(run)}",
        f"--workdir={run_folder(options, run)}",
        *protocol_lib.overrides(protocol(options), run, store),
    )
    return RunCommand(run.name, run_folder(options, run), command, run.model)


def finetuning(
    options: argparse.Namespace, run: plan.PlannedRun, store: str
) -> RunCommand:
    """The fine-tuning of a run."""
    settings = protocol(options).downstream
    source = run_folder(options, run)
    workdir = run_directory.RunDirectory(source).finetunings_path / FINETUNING
    command = python_child.module(
        "clinometer.train.downstream.finetune",
        f"--from={source}",
        f"--mixture={settings.mixture}",
        *([f"--data={settings.data}"] if settings.data else []),
        f"--store={store}",
        f"--workdir={workdir}",
        *protocol_lib.downstream_overrides(protocol(options), run),
    )
    return RunCommand(f"{run.name} fine-tuning", workdir, command, run.model)


def pretrainings(
    options: argparse.Namespace, runs: list[plan.PlannedRun], store: str
) -> list[RunCommand]:
    """Those of all runs; refuses a folder that holds others by these names."""
    manifest = sources.open_store(store, "--store").manifest
    corpus = {
        "corpus_hash": manifest.corpus_hash,
        "vocabulary_sha256": manifest.vocabulary["sha256"],
    }
    found = []
    for run in runs:
        config = config_lib.load(
            protocol_lib.config_argument(run),
            protocol_lib.overrides(protocol(options), run, store),
        )
        found.append(_compared(pretraining(options, run, store), config, corpus))
    return found


def finetunings(
    options: argparse.Namespace, runs: list[plan.PlannedRun], store: str
) -> list[RunCommand]:
    """Those of the finished runs; refuses others in their folders."""
    settings = protocol(options).downstream
    found = []
    for run in runs if settings.mixture else ():
        source = run_folder(options, run)
        if folder.has_finished(source):
            config = finetune.make_config(
                str(source),
                settings.mixture,
                settings.data,
                store=store,
                overrides=protocol_lib.downstream_overrides(protocol(options), run),
            )
            found.append(_compared(finetuning(options, run, store), config, {}))
    return found


def _compared(
    work: RunCommand, config: config_dict.ConfigDict, corpus: Mapping[str, str]
) -> RunCommand:
    flat = config_lib.flatten(config_lib.to_dict(config))
    finished = folder.is_finished(work.folder, flat, corpus)
    return dataclasses.replace(work, finished=finished)


def check_downstream(options: argparse.Namespace) -> None:
    """Looks for the downstream tasks and their files, before anything is trained.

    Raises:
      ConfigError: a task is unknown, or its files are not there.
    """
    settings = protocol(options).downstream
    if not settings.mixture:
        return
    try:
        for name in mixtures.expand(settings.mixture, registry.names()):
            task = registry.get(name)
            if task.benchmark == probes.BENCHMARK:
                continue
            if settings.data is None:
                raise train_errors.ConfigError(
                    f"--downstream {settings.mixture}: {name} needs its release's "
                    "files; say where they lie with --data DIR"
                )
            for split in ("train", "validation"):
                load.find(task, settings.data, split)
    except data_errors.DataError as error:
        raise train_errors.ConfigError(
            f"--downstream {settings.mixture}: {error}"
        ) from error


def costs(options: argparse.Namespace, work: list[RunCommand]) -> dict[str, float]:
    """Train-step FLOPs of each, at the study's batch; checks every model."""
    by_model = {
        model: count(options, model, trace=True).flops_train_step
        for model in {one.model for one in work}
    }
    return {one.name: float(by_model[one.model]) for one in work}


def count(
    options: argparse.Namespace, model: str, *, trace: bool = False
) -> checked.TransformerCounts:
    """Counts a model at the study's batch; raises ValueError if there is none."""
    shape = protocol(options)
    return counts.count(
        model,
        batch_size=shape.batch_size,
        encoder_length=shape.encoder_length,
        trace=trace,
        vocab_size=protocol_lib.VOCAB_SIZE,
    )


def run_folder(options: argparse.Namespace, run: plan.PlannedRun) -> pathlib.Path:
    """Where a run lies."""
    return options.out / "runs" / run.name
