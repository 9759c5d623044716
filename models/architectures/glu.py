"""The GLU-Transformer, T5 with gated feed-forward sublayers.

See ARCHITECTURES.md#glu-transformer.

    y = dropout(gelu(x wi_0) * (x wi_1)) wo

Sources: Shazeer 2020; T5 1.1. wi_0 and wi_1 are [d, f'] and wo is [f', d], without
biases; everything else is the vanilla Transformer. Tay et al. 2022 do not state f'. By
default it is two thirds of the size's f, rounded, which keeps the vanilla numbers of
parameters and multiply-adds; T5 1.1 also has 2048 at base, but 1024 at small. GELU is
the tanh approximation, as in Mesh TensorFlow.

Shapes: d model width, f the size's hidden width, f' that of the gated sublayers.
"""

import dataclasses

from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.layers import feed_forward

GATED = tuple(name for name in feed_forward.ACTIVATIONS if name.startswith("gated-"))
FFN_MATCHES = ("parameters", "width")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a GLU-Transformer.

    Attributes:
        ffn_activation: one of the gated `feed_forward.ACTIVATIONS`.
        ffn_match: which property of the vanilla sublayer to keep: "parameters" (f' is
            2/3 d_ff, rounded) or "width" (f' is d_ff).
    """

    ffn_activation: str = "gated-gelu"
    ffn_match: str = "parameters"

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(self, "ffn_activation", GATED)
        config_lib.check_choice(self, "ffn_match", FFN_MATCHES)

    @property
    def ffn_width(self) -> int:
        """Hidden width f' of the feed-forward sublayers."""
        return (2 * self.d_ff + 1) // 3 if self.ffn_match == "parameters" else self.d_ff


ARCHITECTURE = architecture.Architecture(
    Config,
    transformer.make_network,
    transformer.param_counts,
    transformer.forward_macs,
    family="richer layers",
    mark="square",
    label="GLU",
)
