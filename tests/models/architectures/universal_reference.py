"""Reference of the Universal Transformer's recurrences in float64 NumPy.

The block is `x + tanh(x w)`, scaled by the number of the pass.
"""

from typing import Any

import numpy as np

R, WIDTH = 4, 6
SEGMENTS = np.array([[1, 1, 1, 2, 2], [1, 1, 1, 0, 0]])


class Reference:
    """Runs a stack; `passes` counts the passes through the block.

    Attributes:
        config: a `universal.Config`.
        params: parameters of a module named "stack".
        causal: whether "global" halting excludes later positions.
        halting: steps, remainders and weights of ACT.
    """

    def __init__(self, config: Any, params: Any, causal: bool):
        self.config, self.causal = config, causal
        self.passes, self.halting = 0, []
        self.params = {
            module.removeprefix("stack").removeprefix("/"): {
                name: leaf.astype(np.float64) for name, leaf in leaves.items()
            }
            for module, leaves in params.items()
        }

    def norm(self, x, name):
        scale, offset = (self.params[name][leaf] for leaf in ("scale", "offset"))
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred / deviation * scale + offset

    def block(self, x, name="layer"):
        self.passes += 1
        hidden = np.tanh(x @ self.params[""][f"{name}_w"])
        return x + hidden * (1 + 0.1 * (self.passes - 1))

    def vanilla(self, x, place):
        for number in range(self.config.num_vanilla_layers):
            own = f"{place}_layer_{number}"
            x = self.block(x, "layer" if self.config.share_vanilla_layers else own)
        return x

    def enter(self, x, step):
        if not self.config.step_embedding:
            return x
        return x + self.params["step_embedding"]["table"][step] * WIDTH**0.5

    def transform(self, x):
        for _ in range(self.config.num_inrecurrence_layers):
            x = self.block(x)
        return x

    def highway(self, x):
        own, state = self.params["highway"], x
        for step in range(R):
            seen = {"s": state, "i": x, "t": self.transform(self.enter(state, step))}
            y = [
                self.norm(seen[letter], f"highway/{letter}_norm")
                for letter in self.config.highway_inputs
            ]
            y = np.concatenate(y, -1)
            t = 1 / (1 + np.exp(-(y @ own["transform"] + own["transform_bias"])))
            c = 1 - t
            if not self.config.couple_gates:
                c = 1 / (1 + np.exp(-(y @ own["carry"] + own["carry_bias"])))
            state = state * c + seen["t"] * t
        return state

    def probability(self, s):
        if self.config.act_type == "random":
            return np.full(SEGMENTS.shape, 0.5)
        own = self.params["halting"]
        p = 1 / (1 + np.exp(-(s @ own["w"] + own["b"])))
        if self.config.act_type != "global":
            return p
        pooled = np.empty_like(p)
        for b, t in np.ndindex(*SEGMENTS.shape):
            last = t + 1 if self.causal else SEGMENTS.shape[1]
            same = SEGMENTS[b, :last] == SEGMENTS[b, t]
            pooled[b, t] = p[b, :last][same].mean()
        return pooled

    def act(self, x):
        """Returns y, N, R and the weights u [step, B, T], computed per position."""
        tau = 1 - self.config.act_epsilon
        y, s = np.zeros_like(x), x
        h, remainder, updates = (np.zeros(SEGMENTS.shape) for _ in range(3))
        weights = np.zeros((R, *SEGMENTS.shape))
        for step in range(R):
            s = self.enter(s, step)
            p = self.probability(s)
            for place in np.ndindex(*SEGMENTS.shape):
                if h[place] >= 1:
                    continue
                updates[place] += 1
                if h[place] + p[place] > tau:
                    remainder[place] = 1 - h[place]
                    weights[step][place], h[place] = remainder[place], 1.0
                else:
                    weights[step][place] = p[place]
                    h[place] += p[place]
            s = self.transform(s)
            u = weights[step][..., None]
            y = (
                y + u * s
                if self.config.act_type == "accumulated"
                else u * s + y - u * y
            )
        return y, updates, remainder, weights

    def __call__(self, x):
        config, x = self.config, x.astype(np.float64)
        if config.vanilla_before:
            x = self.vanilla(x, "before")
        if config.recurrence == "act":
            x, *self.halting = self.act(x)
        elif config.recurrence == "highway":
            x = self.highway(x)
        else:
            for step in range(R):
                x = self.transform(self.enter(x, step))
        if config.vanilla_after:
            x = self.vanilla(x, "after")
        return self.norm(x, "final_norm") * (SEGMENTS != 0)[..., None]
