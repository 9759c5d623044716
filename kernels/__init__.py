"""Fast operations behind one API, independent of the rest of Clinometer."""

from clinometer.kernels.constraint import constrain
from clinometer.kernels.context import block_sizes
from clinometer.kernels.context import interpret
from clinometer.kernels.context import target
from clinometer.kernels.convolution import ConvolutionBlocks
from clinometer.kernels.convolution import dynamic_conv
from clinometer.kernels.convolution import light_conv
from clinometer.kernels.declaration import implementation_names
from clinometer.kernels.dispatch import NotSupportedError
from clinometer.kernels.equations import choices
from clinometer.kernels.mixture_of_softmaxes import MixtureBlocks
from clinometer.kernels.mixture_of_softmaxes import mixture_of_softmaxes
from clinometer.kernels.performer_attention import PerformerBlocks
from clinometer.kernels.performer_attention import PerformerState
from clinometer.kernels.performer_attention import performer_attention
from clinometer.kernels.performer_attention import performer_read
from clinometer.kernels.performer_attention import performer_state
from clinometer.kernels.performer_attention import performer_step
from clinometer.kernels.performer_attention import performer_sums
from clinometer.kernels.relative_attention import AttentionBlocks
from clinometer.kernels.relative_attention import relative_attention
from clinometer.kernels.relative_attention import relative_position_bucket
from clinometer.kernels.shard_context import shard_over
from clinometer.kernels.switch import ExpertBlocks
from clinometer.kernels.switch import Route
from clinometer.kernels.switch import RouteBlocks
from clinometer.kernels.switch import expert_capacity
from clinometer.kernels.switch import expert_feed_forward
from clinometer.kernels.switch import expert_matmul
from clinometer.kernels.switch import load_balance_loss
from clinometer.kernels.switch import switch_combine
from clinometer.kernels.switch import switch_dispatch
from clinometer.kernels.switch import switch_route

# Complete here, because importing the operations above declares them.
IMPLEMENTATIONS = implementation_names()

__all__ = [
    "IMPLEMENTATIONS",
    "AttentionBlocks",
    "ConvolutionBlocks",
    "ExpertBlocks",
    "MixtureBlocks",
    "NotSupportedError",
    "PerformerBlocks",
    "PerformerState",
    "Route",
    "RouteBlocks",
    "block_sizes",
    "choices",
    "constrain",
    "dynamic_conv",
    "expert_capacity",
    "expert_feed_forward",
    "expert_matmul",
    "interpret",
    "light_conv",
    "load_balance_loss",
    "mixture_of_softmaxes",
    "performer_attention",
    "performer_read",
    "performer_state",
    "performer_step",
    "performer_sums",
    "relative_attention",
    "relative_position_bucket",
    "shard_over",
    "switch_combine",
    "switch_dispatch",
    "switch_route",
    "target",
]
