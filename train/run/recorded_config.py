"""The configuration in the record of a run: the fields that readers of records need."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.train.run.schema import Number
from clinometer.train.run.schema import Part
from clinometer.train.run.schema import optional

PILOT = "pilot"
SWEEP = "sweep"
FINAL = "final"
ROLES = (PILOT, SWEEP, FINAL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(Part):
    """`config.model`; other fields of the model's config are in `rest`."""

    name: str | None = optional(null=False)
    vocab_size: int | None = optional()
    dtype: str | None = optional()
    dropout_rate: Number | None = optional()

    @property
    def overrides(self) -> dict[str, Any]:
        """The fields of the model's config that are not None."""
        fields = self.to_json()
        return {key: v for key, v in fields.items() if key != "name" and v is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataConfig(Part):
    """`config.data`; earlier versions called `order` `seed`."""

    order: int | None = optional(null=False)
    noise_density: Number | None = optional()  # Pretraining only.
    mean_noise_span_length: Number | None = optional()  # Pretraining only.
    encoder_length: int | None = optional(null=False)
    decoder_length: int | None = optional()  # Fine-tuning only.
    mixture: str | None = optional()  # Fine-tuning only.

    @property
    def data_order(self) -> int | None:
        """The order of the training data, in records of any version."""
        return self.rest.get("seed") if self.order is None else self.order


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduleConfig(Part):
    """`config.schedule`."""

    learning_rate: Number | None = optional(null=False)

    @property
    def settings(self) -> dict[str, Any]:
        """All fields but the learning rate."""
        fields = self.to_json()
        return {key: v for key, v in fields.items() if key != "learning_rate"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvalConfig(Part):
    """`config.eval`."""

    max_rows: int | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig(Part):
    """`config.mesh`, which runs of earlier versions lack."""

    rules: str | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Study(Part):
    """`config.study`: what the run is for in a study; all None for other runs.

    Attributes:
        role: one of `ROLES`; only final runs enter fits and claims.
        pass_number: pass of the study, from 1.
        claims: SHA-256 of the file of claims, of final runs.
        rate_table: SHA-256 of the table of tuned rates, or None.
        rate_corpus: hash of the corpus on which the rate was tuned, or None.
        fixed_rate: the rate that all runs of the study have, or None.
    """

    role: str | None = optional()
    pass_number: int | None = optional()
    claims: str | None = optional()
    rate_table: str | None = optional()
    rate_corpus: str | None = optional()
    fixed_rate: Number | None = optional()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(Part):
    """The configuration of the run; fields that no reader needs are in `rest`."""

    train_steps: int | None = optional(null=False)
    model: ModelConfig = ModelConfig()
    data: DataConfig = DataConfig()
    optimizer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    schedule: ScheduleConfig = ScheduleConfig()
    eval: EvalConfig = EvalConfig()
    num_microbatches: int | None = optional()
    z_loss: Number | None = optional()
    mesh: MeshConfig = MeshConfig()
    study: Study = Study()
