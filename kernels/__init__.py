"""Fast operations behind one API; they import nothing else of Clinometer."""

from clinometer.kernels.dispatch import NotSupportedError
from clinometer.kernels.dispatch import choices
from clinometer.kernels.dispatch import target
from clinometer.kernels.performer_attention import PerformerState
from clinometer.kernels.performer_attention import performer_attention
from clinometer.kernels.performer_attention import performer_state
from clinometer.kernels.performer_attention import performer_step
from clinometer.kernels.relative_attention import relative_attention
from clinometer.kernels.relative_attention import relative_position_bucket

__all__ = [
    "NotSupportedError",
    "PerformerState",
    "choices",
    "performer_attention",
    "performer_state",
    "performer_step",
    "relative_attention",
    "relative_position_bucket",
    "target",
]
