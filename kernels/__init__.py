"""Fast operations behind one API; they import nothing else of Clinometer."""

from clinometer.kernels.convolution import dynamic_conv
from clinometer.kernels.convolution import light_conv
from clinometer.kernels.dispatch import NotSupportedError
from clinometer.kernels.dispatch import choices
from clinometer.kernels.dispatch import target
from clinometer.kernels.relative_attention import relative_attention
from clinometer.kernels.relative_attention import relative_position_bucket

__all__ = [
    "NotSupportedError",
    "choices",
    "dynamic_conv",
    "light_conv",
    "relative_attention",
    "relative_position_bucket",
    "target",
]
