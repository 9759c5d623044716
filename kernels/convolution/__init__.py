"""Lightweight and dynamic convolutions along the sequence."""

from clinometer.kernels.convolution.blocks import ConvolutionBlocks
from clinometer.kernels.convolution.check import MAX_TAPS
from clinometer.kernels.convolution.dynamic import dynamic_conv
from clinometer.kernels.convolution.light import light_conv

__all__ = ["MAX_TAPS", "ConvolutionBlocks", "dynamic_conv", "light_conv"]
