"""Published training speeds that the times of `clinometer plan` are compared with.

From Table 4 of Tay et al. 2021: batches of 128 x 512 tokens in bfloat16 on TPU v3,
"steps/s" rounded to whole numbers. The first twelve ran on 16 chips; XXL and XL with 32
layers on 64, with the model parallelism of Table 1.
"""

import dataclasses
import math

from clinometer.tools.plan import request as request_lib


@dataclasses.dataclass(frozen=True)
class Row:
    """A published speed.

    Attributes:
        label: the row as the paper names it.
        model: our name of the model.
        topology: the chips that it ran on.
        steps_per_second: as printed, to whole numbers.
        remat: the policy with which it fits; the paper names none.
    """

    label: str
    model: str
    topology: str
    steps_per_second: int
    remat: str = "none"

    @property
    def request(self) -> request_lib.Request:
        """The train step."""
        fields = {"dtype": "bfloat16", "scan_layers": True, "remat": self.remat}
        return request_lib.Request(self.model, self.topology, fields=fields)

    def error(self, seconds: float) -> float:
        """Returns how far a step time is outside of the rounding, as |ln(ratio)|.

        Args:
            seconds: a predicted time of a step.
        """
        low, high = self.steps_per_second - 0.5, self.steps_per_second + 0.5
        speed = 1 / seconds
        return max(0.0, math.log(low / speed), math.log(speed / high))


FITTED = tuple(
    Row(label, f"transformer-{size}", "v3:4x4", speed, remat)
    for label, size, speed, remat in (
        ("Small", "small", 23, "none"),
        ("Mini-8L", "NL8-MI", 24, "none"),
        ("Base", "base", 9, "none"),
        ("Small 16L", "NL16-SM", 13, "none"),
        ("Small 20L", "NL20-SM", 11, "none"),
        ("Small 22L", "NL22-SM", 10, "none"),
        ("Small 24L", "NL24-SM", 9, "none"),
        ("Small 32EL", "EL32-SM", 10, "none"),
        ("Large", "large", 4, "none"),
        ("Base 36L", "NL36-BA", 3, "none"),
        ("XL", "xl", 1, "layer"),
        ("Large 36L", "NL36-LG", 2, "none"),
    )
)
# Not looked at before the forms and their constants were committed.
NEW = (
    Row("XXL", "transformer-xxl", "v3:8x8", 1, "layer"),
    Row("XL 32L", "transformer-NL32-XL", "v3:8x8", 3, "layer"),
)
