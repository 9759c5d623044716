"""What a train step is compiled for: the model, the batch, the mesh and the devices."""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer import models


@dataclasses.dataclass(frozen=True)
class Request:
    """A train step to compile ahead of time.

    Attributes:
        model: the model's name.
        topology: the compiler's name of a TPU topology, e.g. "v5e:4x4"; or the name of
            GPUs, e.g. "h100:8".
        batch_size: B, over all devices.
        encoder_length: S, in tokens.
        decoder_length: T, in tokens.
        mesh: sizes of axes of the mesh; the others are the defaults of training.
        num_microbatches: number of microbatches.
        fields: fields of the model's config, such as dtype and remat.
        settings: other fields of the training's config, such as
            "optimizer.min_dim_size_to_factor".
        platform: "tpu" or "cuda".
    """

    model: str
    topology: str
    batch_size: int = 128
    encoder_length: int = 512
    decoder_length: int = 114
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)
    num_microbatches: int = 1
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    platform: str = "tpu"

    @property
    def shape(self) -> models.TextShape:
        """The shape of an example."""
        return models.TextShape(self.encoder_length, self.decoder_length)

    @property
    def model_fields(self) -> dict[str, Any]:
        """The fields of the model's config, with the length if the model has one."""
        length = models.architecture_of(self.model).length_field
        return {**({length: self.encoder_length} if length else {}), **self.fields}

    def to_json(self) -> dict[str, Any]:
        """Returns what `Request(**...)` takes, as JSON has it."""
        return dataclasses.asdict(self) | {
            "mesh": dict(self.mesh),
            "fields": dict(self.fields),
            "settings": dict(self.settings),
        }
