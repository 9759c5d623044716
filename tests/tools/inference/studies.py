"""Designs for tests of inference, and the same model as plain dense matrices."""

from collections.abc import Sequence

import numpy as np

from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import power

WIDTHS = (16, 32, 64, 128)

# Training FLOPs by width: 3,000 steps of rows of 4 x 128/29, V 2048, as counted.
FLOPS = {
    "transformer": (2.459e11, 6.539e11, 1.956e12, 6.505e12),
    "evolved": (2.109e11, 5.725e11, 1.748e12, 5.909e12),
    "universal": (2.459e11, 6.539e11, 1.956e12, 6.505e12),
    "switch": (2.474e11, 6.568e11, 1.962e12, 6.516e12),
    "performer": (1.781e11, 5.183e11, 1.685e12, 5.963e12),
    "funnel": (2.232e11, 5.802e11, 1.695e12, 5.531e12),
    "albert": (2.494e11, 5.923e11, 1.764e12, 6.149e12),
    "mos": (1.212e12, 2.603e12, 5.918e12, 1.469e13),
    "glu": (2.463e11, 6.532e11, 1.957e12, 6.502e12),
    "lconv": (1.778e11, 5.176e11, 1.683e12, 5.960e12),
    "dconv": (1.832e11, 5.393e11, 1.770e12, 6.307e12),
    "mixer": (1.893e11, 5.029e11, 1.503e12, 4.995e12),
}
# Vanilla's losses of one seed at tuned rates, by width.
TUNED = (4.431, 4.259, 4.184, 4.162)


def ladder_flops(sizes: int) -> list[float]:
    """Costs that triple, a little more each time."""
    return [2.5e11 * 3.0**i * (1 + 0.03 * i) for i in range(sizes)]


def ladder(
    sizes: int,
    orders: int | Sequence[int],
    costs: Sequence[float] = (1.0,),
    initialisations: int = 1,
) -> design_lib.Design:
    """Architectures a, b, ... at several sizes.

    Args:
        sizes: widths 16, 32, ...
        orders: of each size, or of all.
        costs: of each architecture, relative to the first.
        initialisations: of the first architecture in each order.
    """
    counts = [orders] * sizes if isinstance(orders, int) else orders
    names = "abcdefghijkl"[: len(costs)]
    flops = {
        name: {16 * 2**i: cost * c for i, c in enumerate(ladder_flops(sizes))}
        for name, cost in zip(names, costs)
    }
    runs_in = {
        name: {16 * 2**i: list(map(str, range(counts[i]))) for i in range(sizes)}
        for name in names
    }
    return design_lib.planned(
        flops, runs_in, {n: initialisations if n == "a" else 1 for n in names}
    )


def one_order(sizes: int, replicates: Sequence[int]) -> design_lib.Design:
    """One architecture in one order, replicated by initialisations only."""
    runs = [
        design_lib.Run(f"{i}/{k}", "a", 16 * 2**i, "0", str(k), cost, 1.0)
        for i, cost in enumerate(ladder_flops(sizes))
        for k in range(replicates[i])
    ]
    return design_lib.from_runs(runs)[0]


def first_study(
    counts: Sequence[int] = (6, 2, 1, 3),
    mos: Sequence[int] = (4, 1, 4, 1),
    vanilla: int = 3,
) -> design_lib.Design:
    """The first published study: orders by width, vanilla's initialisations in each."""
    return design_lib.planned(
        {name: dict(zip(WIDTHS, costs)) for name, costs in FLOPS.items()},
        {
            name: {
                width: list(map(str, range(1, k + 1)))
                for width, k in zip(WIDTHS, mos if name == "mos" else counts)
            }
            for name in FLOPS
        },
        {name: vanilla if name == "transformer" else 1 for name in FLOPS},
    )


def bent() -> power.Curve:
    """A ladder that gains 0.142 nats and bends 2.3-fold over vanilla's range."""
    costs = FLOPS["transformer"]
    return bent_curve(costs[0], costs[-1], 4.43, 0.142, 2.3)


def bent_curve(
    low_flops: float, high_flops: float, loss: float, gain: float, bend: float
) -> power.Curve:
    """Returns a power law with a floor, by what can be seen of it.

    Args:
        low_flops: training FLOPs of the smallest size.
        high_flops: of the largest.
        loss: at the smallest size, nats.
        gain: from the smallest size to the largest, nats.
        bend: by which factor the gain per decade falls over that range, above 1.
    """
    exponent = np.log(bend) / np.log(high_flops / low_flops)

    def curve(flops: np.ndarray) -> np.ndarray:
        fallen = 1 - (np.asarray(flops, np.float64) / low_flops) ** -exponent
        return loss - gain * fallen / (1 - 1 / bend)

    return curve


def true_means(design: design_lib.Design, curve: power.Curve) -> np.ndarray:
    """The curve at each cell's cost: [C]."""
    return curve(design.flops_of(range(len(design.cells))))


def falling_sd(design: design_lib.Design, power_of_width: float) -> dict[int, float]:
    """0.018 nats at d32, times (d / 32)^-power_of_width."""
    return {int(w): 0.018 * (w / 32) ** -power_of_width for w in design.widths}


def dense(design: design_lib.Design) -> np.ndarray:
    """Dummies of cells, then of orders, of all runs: [n, C + K]; rank-deficient."""
    return np.hstack(
        [design.cell_membership, np.eye(len(design.orders))[design.order_of_run]]
    )


def unbalanced() -> design_lib.Design:
    """Two architectures, three sizes, orders and replicates that differ by cell."""
    return design_lib.planned(
        {
            "a": {16: 1e11, 32: 3e11, 64: 1e12},
            "b": {16: 2e11, 32: 5e11, 64: 2e12},
        },
        {
            "a": {16: "123", 32: "12", 64: "134"},
            "b": {16: "12", 32: "24", 64: "34"},
        },
        {"a": 2, "b": 1},
    )
