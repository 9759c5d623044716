"""Fast operations behind one API; they import nothing else of Clinometer."""

from clinometer.kernels.dispatch import NotSupportedError
from clinometer.kernels.dispatch import choices
from clinometer.kernels.dispatch import target
from clinometer.kernels.relative_attention import relative_attention
from clinometer.kernels.relative_attention import relative_position_bucket
from clinometer.kernels.switch import Route
from clinometer.kernels.switch import expert_capacity
from clinometer.kernels.switch import expert_feed_forward
from clinometer.kernels.switch import expert_matmul
from clinometer.kernels.switch import load_balance_loss
from clinometer.kernels.switch import switch_combine
from clinometer.kernels.switch import switch_dispatch
from clinometer.kernels.switch import switch_route

__all__ = [
    "NotSupportedError",
    "Route",
    "choices",
    "expert_capacity",
    "expert_feed_forward",
    "expert_matmul",
    "load_balance_loss",
    "relative_attention",
    "relative_position_bucket",
    "switch_combine",
    "switch_dispatch",
    "switch_route",
    "target",
]
