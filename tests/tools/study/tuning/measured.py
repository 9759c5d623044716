"""Losses of a measured sweep, and synthetic ones with a known optimum."""

import math

# Width -> rate -> validation loss, nats: vanilla, two layers, 3,000 steps, one seed.
RATES = (0.0075, 0.015, 0.03, 0.06, 0.12)
VANILLA = {
    16: dict(zip(RATES, (4.859, 4.545, 4.431, 4.457, 4.591))),
    32: dict(zip(RATES, (4.545, 4.333, 4.259, 4.317, 4.680))),
    64: dict(zip(RATES, (4.382, 4.244, 4.184, 4.579, 5.291))),
    128: dict(zip(RATES, (4.256, 4.162, 4.168, 5.001, 5.175))),
}


def bowl(optimum, curvature=0.27, floor=4.2, cliff=math.inf):
    """Returns the loss as a function of the rate: a parabola, then a plateau at 5."""

    def loss(rate):
        if rate >= cliff:
            return 5.0
        return floor + curvature / 2 * math.log(rate / optimum) ** 2

    return loss
