"""Switch layers: top-1 routing, dispatch and combine, and the experts' matmuls."""

from clinometer.kernels.switch.blocks import RouteBlocks
from clinometer.kernels.switch.expert_blocks import ExpertBlocks
from clinometer.kernels.switch.experts import expert_matmul
from clinometer.kernels.switch.feed_forward import expert_feed_forward
from clinometer.kernels.switch.routing import Route
from clinometer.kernels.switch.routing import expert_capacity
from clinometer.kernels.switch.routing import load_balance_loss
from clinometer.kernels.switch.routing import switch_route
from clinometer.kernels.switch.rows import switch_combine
from clinometer.kernels.switch.rows import switch_dispatch

__all__ = [
    "ExpertBlocks",
    "Route",
    "RouteBlocks",
    "expert_capacity",
    "expert_feed_forward",
    "expert_matmul",
    "load_balance_loss",
    "switch_combine",
    "switch_dispatch",
    "switch_route",
]
