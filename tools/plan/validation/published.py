"""Published training speeds that the times of `clinometer plan` are compared with.

From Table 4 of Tay et al. 2021: batches of 128 x 512 tokens in bfloat16 on TPU v3,
"steps/s" rounded to whole numbers; and from its Table 5: Vision Transformers with
patches of 32 x 32 pixels and 18,291 classes on 64 chips, to two digits.
"""

import dataclasses
import math

from clinometer import models
from clinometer.tools.plan import request as request_lib
from clinometer.tools.results import published
from clinometer.train.sharding import mesh as mesh_lib

_TOPOLOGIES = {16: "v3:4x4", 64: "v3:8x8"}
# Models published with this model parallelism, that of XL, or more, don't fit without
# rematerialization.
_IMAGES = {"num_classes": 18_291}
_IMAGE_BATCH = 4096  # Of the Vision Transformer's pretraining; Table 5 names none.
_NEEDS_REMAT = mesh_lib.PUBLISHED_MODEL_PARALLELISM["xl"]


@dataclasses.dataclass(frozen=True)
class Row:
    """A published speed.

    Attributes:
        label: the row as the paper names it.
        model: our name of the model.
        topology: the chips that it ran on.
        steps_per_second: as printed.
        remat: the policy with which it fits; the paper names none.
        rounding: largest distance of a speed from the printed one.
    """

    label: str
    model: str
    topology: str
    steps_per_second: float
    remat: str = "none"
    rounding: float = 0.5

    @property
    def request(self) -> request_lib.Request:
        """The train step."""
        fields = {"dtype": "bfloat16", "scan_layers": True, "remat": self.remat}
        if models.takes_images(self.model):
            return request_lib.Request(
                self.model,
                self.topology,
                batch_size=_IMAGE_BATCH,
                fields={**fields, **_IMAGES},
            )
        return request_lib.Request(self.model, self.topology, fields=fields)

    def error(self, seconds: float) -> float:
        """Returns how far a step time is outside of the rounding, as |ln(ratio)|.

        Args:
            seconds: a predicted time of a step.
        """
        low = self.steps_per_second - self.rounding
        high = self.steps_per_second + self.rounding
        speed = 1 / seconds
        return max(0.0, math.log(low / speed), math.log(speed / high))


def fitted() -> list[Row]:
    """Returns the rows that ran on 16 chips, to which constants are fitted."""
    return _rows(16)


def new() -> list[Row]:
    """Returns the rows on 64 chips.

    They were not looked at before the rules and their constants were committed.
    """
    return _rows(64)


def images() -> list[Row]:
    """Returns the rows of Vision Transformers, which no constant is fitted to.

    They were compiled and predicted once, after all rules and constants.
    """
    table = published.of_table(5)
    return [
        Row(
            label=name.removeprefix("Table 5: "),
            model=model,
            topology=_TOPOLOGIES[64],
            steps_per_second=speed,
            rounding=0.005,
        )
        for name, model, speed in zip(
            table["run"], table["model"], table["steps_per_second_median"]
        )
    ]


def _rows(chips: int) -> list[Row]:
    table = published.of_table(4)
    found = table[table["device_training"] == chips]
    return [
        Row(
            label=name.removeprefix("Table 4: "),
            model=model,
            topology=_TOPOLOGIES[chips],
            steps_per_second=int(speed),
            remat="layer" if _parallelism(model) >= _NEEDS_REMAT else "none",
        )
        for name, model, speed in zip(
            found["run"], found["model"], found["steps_per_second_median"]
        )
    ]


def _parallelism(model: str) -> int:
    return mesh_lib.published_model_parallelism(model)
