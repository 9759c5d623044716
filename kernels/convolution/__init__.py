"""Lightweight and dynamic convolution along the sequence."""

from clinometer.kernels.convolution.dynamic import dynamic_conv
from clinometer.kernels.convolution.light import light_conv

__all__ = ["dynamic_conv", "light_conv"]
