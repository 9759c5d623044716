"""Linear attention with ReLU features."""

from clinometer.kernels.performer_attention.api import performer_attention
from clinometer.kernels.performer_attention.blocks import PerformerBlocks
from clinometer.kernels.performer_attention.decoding import PerformerState
from clinometer.kernels.performer_attention.decoding import performer_read
from clinometer.kernels.performer_attention.decoding import performer_state
from clinometer.kernels.performer_attention.decoding import performer_step
from clinometer.kernels.performer_attention.decoding import performer_sums

__all__ = [
    "PerformerBlocks",
    "PerformerState",
    "performer_attention",
    "performer_read",
    "performer_state",
    "performer_step",
    "performer_sums",
]
