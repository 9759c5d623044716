"""The definition of the Vision Transformer, and its sizes.

The sizes are those of *Scale Efficiently*'s Table 5: its S has the width of T5's small
and 8 layers, which its FLOPs need (its parameters would need 16), and not the width 384
of other papers' S. Names are `vit-[OPERATORS-]SIZE`, such as `vit-NL24-S`.
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.models.architectures import grammar
from clinometer.models.architectures import sizes as sizes_lib
from clinometer.models.vision import config as config_lib

SIZES = {
    "S": sizes_lib.Size(8, 512, 2048, 8, 64, "S", ("small",)),
    "B": sizes_lib.Size(12, 768, 3072, 12, 64, "B", ("base",)),
    "L": sizes_lib.Size(24, 1024, 4096, 16, 64, "L", ("large",)),
}
_ONE_STACK = "there is only one stack, whose layers NL sets"
_OWN_HEADS = "every head has keys and values of its own"


@dataclasses.dataclass(frozen=True)
class ImageArchitecture:
    """Defines how an architecture for images is configured and named.

    Attributes:
        config: frozen dataclass of its options.
        sizes: its named sizes.
        refused_operators: maps scaling operators that do not apply to the reason.
        family: group of related architectures, for figures.
        mark: shape of its points in figures.
        label: name for readers.
    """

    config: type
    sizes: Mapping[str, sizes_lib.Size]
    refused_operators: Mapping[str, str]
    family: str
    mark: str
    label: str


def fields(name: grammar.ModelName) -> dict[str, Any]:
    """Returns the config fields that the size and the operators of a name set."""
    found = name.config_fields()
    found["num_layers"] = found.pop("num_encoder_layers")
    del found["num_decoder_layers"]
    return found


ARCHITECTURE = ImageArchitecture(
    config_lib.VisionConfig,
    SIZES,
    {"EL": _ONE_STACK, "DL": _ONE_STACK, "SH": _OWN_HEADS, "SKV": _OWN_HEADS},
    family="vanilla",
    mark="circle",
    label="ViT",
)
