"""Fast operations behind one API; they import nothing else of Clinometer."""

from clinometer.kernels.dispatch import NotSupportedError
from clinometer.kernels.dispatch import check_implementation
from clinometer.kernels.dispatch import choices
from clinometer.kernels.dispatch import target
from clinometer.kernels.relative_attention import relative_attention
from clinometer.kernels.relative_attention import relative_position_bucket

__all__ = [
    "NotSupportedError",
    "check_implementation",
    "choices",
    "relative_attention",
    "relative_position_bucket",
    "target",
]
