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
        encoder_length: S, in tokens; None for the papers' 512, or for a model of
            images, whose size is in `fields`.
        decoder_length: T, in tokens; None for the papers' 114, or for images.
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
    encoder_length: int | None = None
    decoder_length: int | None = None
    mesh: Mapping[str, int] = dataclasses.field(default_factory=dict)
    num_microbatches: int = 1
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    platform: str = "tpu"

    @property
    def shape(self) -> models.TextShape | models.ImageShape:
        """The shape of an example."""
        if models.takes_images(self.model):
            return models.build(self.model, **self.fields).shape
        return models.counts.text_shape(self.encoder_length, self.decoder_length)

    @property
    def model_fields(self) -> dict[str, Any]:
        """The fields of the model's config, with the length if the model has one."""
        if models.takes_images(self.model):
            return dict(self.fields)
        length = models.architecture_of(self.model).length_field
        own = {length: self.shape.encoder_length} if length else {}
        return {**own, **self.fields}

    def to_json(self) -> dict[str, Any]:
        """Returns what `Request(**...)` takes, as JSON has it."""
        lengths = {}
        if not models.takes_images(self.model):
            shape = self.shape
            lengths = {
                name: getattr(shape, name)
                for name in ("encoder_length", "decoder_length")
            }
        return dataclasses.asdict(self) | {
            **lengths,
            "mesh": dict(self.mesh),
            "fields": dict(self.fields),
            "settings": dict(self.settings),
        }
