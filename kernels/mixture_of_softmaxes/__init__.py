"""The output layer of the Mixture of Softmaxes."""

from clinometer.kernels.mixture_of_softmaxes.api import mixture_of_softmaxes
from clinometer.kernels.mixture_of_softmaxes.blocks import MixtureBlocks

__all__ = ["MixtureBlocks", "mixture_of_softmaxes"]
