"""The training settings that all runs of a study share.

The defaults are for a laptop: short sequences, a small vocabulary, no dropout. Such
short runs are limited by the number of updates rather than by model size, so batches
are small and the learning rate decays to zero. A fit over them ranks these runs; it
doesn't say what the sizes would reach if trained to convergence. With the kind
`PAPERS`, whatever is not a field here is the trainer's default, which is the papers'
protocol. With the kind `IMAGES` the runs are of images; their schedule and intervals
follow from the number of steps, too. The peak learning rate is not among these
settings: it belongs to each run, see `run_rates`.
"""

import dataclasses

from clinometer import models
from clinometer.tools.study import images as images_lib
from clinometer.tools.study import plan
from clinometer.train.configs import classify
from clinometer.train.configs import pretrain

NEVER_FACTOR = 1 << 20
SHORT, PAPERS, IMAGES = KINDS = ("short", "papers", "images")
DECODINGS = ("greedy", "beam")
# Name of the fine-tuning that all runs get, next to those that users create.
FINETUNING = "study"
_SCAN_LAYERS = "model.scan_layers"


@dataclasses.dataclass(frozen=True)
class DownstreamSettings:
    """Settings of the short fine-tuning after each pretraining.

    Attributes:
        mixture: tasks and their rates; "" for no fine-tuning.
        data: folder with the releases of the tasks; cloze needs none.
        train_steps: number of steps.
        learning_rate: constant learning rate.
        rows: rows per batch with packed examples.
        examples: rows per batch for models that can't be trained on packed examples,
            and for all models of the papers' protocol.
        decoder_length: T, in tokens.
        decoding: how predictions are decoded, one of `DECODINGS`.
    """

    # Of three candidates, the only probe whose score is precise, see train/RESULTS.md.
    # The pilot trained on as many of its rows.
    mixture: str = "cloze"
    data: str | None = None
    train_steps: int = 300
    learning_rate: float = 0.006
    rows: int = 8
    examples: int = 32
    decoder_length: int = 32
    decoding: str = "greedy"

    def settings(self, kind: str = SHORT) -> dict[str, object]:
        """Returns config key -> value, except for what depends on the run.

        Args:
            kind: of the protocol, one of `KINDS`.
        """
        steps = self.train_steps
        shared = {
            "train_steps": steps,
            "data.decoder_length": self.decoder_length,
            "schedule.learning_rate": self.learning_rate,
            "eval.decoding": self.decoding,
        }
        if kind == PAPERS:
            return shared
        return shared | {
            "schedule.name": "constant",
            "optimizer.min_dim_size_to_factor": NEVER_FACTOR,
            "eval.every_steps": steps,  # Decoding takes as long as a hundred steps.
            "eval.likelihood": True,
            "checkpoint.every_steps": max(1, steps // 3),
            "log.every_steps": max(1, steps // 30),
            "log.health_every_steps": max(1, steps // 6),
        }


@dataclasses.dataclass(frozen=True)
class Finetuning:
    """A fine-tuning of runs of a study.

    Attributes:
        name: its folder in the run's folder of fine-tunings.
        settings: its settings.
        models: canonical names of the models that get it; empty for all.
    """

    name: str
    settings: DownstreamSettings
    models: tuple[str, ...] = ()

    def is_of(self, model: str) -> bool:
        """Returns whether the runs of a model get it.

        Args:
            model: canonical name.
        """
        return not self.models or model in self.models


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Settings shared by all runs; the defaults are those of `make study`.

    Attributes:
        kind: `SHORT` or `IMAGES`, whose schedule and intervals follow from the number
            of steps, or `PAPERS`, for which they are the trainer's defaults.
        vocab_size: number of rows of the embedding table, of texts.
        train_steps: number of steps.
        batch_size: B.
        encoder_length: S, in tokens; 128 gives 29 decoder tokens, from 141 raw tokens.
            Not of images.
        dropout_rate: of all dropouts.
        dtype: of the computation.
        scan_layers: one program for all layers of a stack, which deep models compile
            many times faster.
        warmup_fraction: part of the steps with linear warmup.
        decay_fraction: part of the steps with linear decay, at the end.
        downstream: settings of the fine-tuning of all runs of texts.
        further: other fine-tunings, of all runs or some models.
        images: images and model options of runs of images.
        fewshot: how the features of these runs are scored.
    """

    kind: str = SHORT
    vocab_size: int = 2048
    # On the embedded corpus, smaller batches reach a lower loss at equal tokens.
    train_steps: int = 3000
    batch_size: int = 4
    encoder_length: int = 128
    dropout_rate: float = 0.0
    dtype: str = "float32"
    scan_layers: bool = False
    warmup_fraction: float = 0.05
    decay_fraction: float = 0.5
    downstream: DownstreamSettings = DownstreamSettings()
    further: tuple[Finetuning, ...] = ()
    images: images_lib.ImageSettings = images_lib.ImageSettings()
    fewshot: images_lib.FewShotSettings = images_lib.FewShotSettings()

    @property
    def of_images(self) -> bool:
        """Whether the runs are of images, and not of texts."""
        return self.kind == IMAGES

    @property
    def finetunings(self) -> tuple[Finetuning, ...]:
        """All fine-tunings, that of all runs first."""
        if self.of_images:
            return ()
        own = (Finetuning(FINETUNING, self.downstream),)
        return (*(own if self.downstream.mixture else ()), *self.further)

    def settings(self) -> dict[str, object]:
        """Returns config key -> value, except for the model, seed, rate and store."""
        steps = self.train_steps
        shared = {
            "train_steps": steps,
            "model.dropout_rate": self.dropout_rate,
            "model.dtype": self.dtype,
            "data.batch_size": self.batch_size,
        }
        if self.scan_layers:
            shared[_SCAN_LAYERS] = True
        if self.of_images:
            shared |= self.images.settings()
        else:
            shared["data.encoder_length"] = self.encoder_length
        if self.kind == PAPERS:
            return shared
        if self.kind == SHORT:
            # With the default of 128 Adafactor would factor only milli's moments.
            shared["optimizer.min_dim_size_to_factor"] = NEVER_FACTOR
        return shared | {
            "schedule.name": "wsd",
            "schedule.warmup_fraction": self.warmup_fraction,
            "schedule.decay_fraction": self.decay_fraction,
            "eval.every_steps": max(1, steps // 2),
            "checkpoint.every_steps": max(1, steps // 4),
            # 30 windows for the speed, of which the trainer discards the first two.
            "log.every_steps": max(1, steps // 30),
            "log.health_every_steps": max(1, steps // 6),
        }

    def rate_settings(self) -> dict[str, object]:
        """Returns the settings that decide which learning rate is the best."""
        return {
            key: value
            for key, value in self.settings().items()
            if not key.startswith(("eval.", "checkpoint.", "log.", _SCAN_LAYERS))
        }


def config_argument(protocol: Protocol, run: plan.PlannedRun) -> str:
    """Returns the value of the trainer's --config for a run."""
    module = classify if protocol.of_images else pretrain
    return f"{module.__file__}:{run.model}"  # Whatever the working directory.


def overrides(protocol: Protocol, run: plan.PlannedRun, source: str) -> list[str]:
    """Returns the trainer's arguments after --config: `--config.key=value`.

    The seed determines only the initialization and dropout. Runs with the same order of
    the data see the same batches.

    Args:
        protocol: the shared settings.
        run: the run, whose learning rate is known.
        source: path of the token store, or folder of the images.
    """
    marks = {f"study.{key}": value for key, value in run.marks().items()}
    values = {
        "seed": run.seed,
        "data.folder" if protocol.of_images else "data.store": source,
        **({} if run.order is None else {"data.order": run.order}),
        **protocol.settings(),
        "schedule.learning_rate": run.learning_rate,
        **{key: value for key, value in marks.items() if value is not None},
    }
    return [f"--config.{key}={value}" for key, value in values.items()]


def downstream_overrides(
    protocol: Protocol, run: plan.PlannedRun, settings: DownstreamSettings
) -> list[str]:
    """Returns the `--config.key=value` arguments of `clinometer finetune` for a run.

    Args:
        protocol: the shared settings.
        run: the run.
        settings: of the fine-tuning.
    """
    short = protocol.kind == SHORT
    # The papers fine-tune with the dropout of pretraining, experts with their own.
    rates = models.architecture_of(run.model).dropout_rates if short else ()
    values = {
        "seed": run.seed,
        **settings.settings(protocol.kind),
        "data.encoder_length": protocol.encoder_length,
        "data.packing": _packs(protocol, run.model),
        "data.batch_size": downstream_rows(protocol, run.model, settings),
        **{f"model.{field}": protocol.dropout_rate for field in rates},
    }
    return [f"--config.{key}={value}" for key, value in values.items()]


def downstream_rows(
    protocol: Protocol, model: str, settings: DownstreamSettings
) -> int:
    """Returns the number of rows per batch of a fine-tuning.

    Args:
        protocol: the shared settings.
        model: the model's name.
        settings: of the fine-tuning.
    """
    return settings.rows if _packs(protocol, model) else settings.examples


def _packs(protocol: Protocol, model: str) -> bool:
    return protocol.kind == SHORT and models.architecture_of(model).packs
