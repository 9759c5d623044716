"""The Universal Transformer's recurrence over depth.

See ARCHITECTURES.md#universal-transformer-recurrence. A stack applies one block
repeatedly; before each recurrence, a learned embedding of the step is added.
`run_stack` runs it from embedded tokens to the final norm and replaces
`residual.run_stack`.

Shapes: B batch, T length, d model width, R recurrences, P passes through the block.
"""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import keys
from clinometer.models.layers import parameters
from clinometer.models.layers import recurrence_modes
from clinometer.models.layers import residual
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers

Tree = stack.Tree


def run_stack(
    config: Any,
    make_layer: Callable[[str], stack.LayerFunction],
    num_layers: int,
    x: jax.Array,  # [B, T, d]
    segments: jax.Array,  # [B, T]
    dropout_key: jax.Array | None = None,
    per_layer_inputs: Tree = None,
    *,
    causal: bool,
) -> tuple[jax.Array, Tree, sublayers.Extras]:
    """Runs a stack of `num_layers` recurrences; see `encoder_decoder.RunStack`.

    Args:
        config: a `universal.Config`.
        make_layer: creates the block of a given name, "layer".
        num_layers: R.
        x: embedded tokens [B, T, d].
        segments: int [B, T], 0 at padding.
        dropout_key: random key of the stack; None for evaluation.
        per_layer_inputs: in decoding, {"passes": leaves [P, ...], "mode": leaves
            [R, ...]}; else None.
        causal: whether "global" halting excludes later positions.

    Returns:
        x [B, T, d], outputs of the passes [P, ...] (in decoding, a dictionary like
        `per_layer_inputs`), and extras.
    """
    x = residual.drop(config, x, keys.fold(dropout_key, "input"))
    block = make_layer("layer")
    per_recurrence = config.num_inrecurrence_layers
    before = config.num_vanilla_layers if config.vanilla_before else 0
    after = config.num_vanilla_layers if config.vanilla_after else 0
    ends = (before, before + num_layers * per_recurrence)
    inputs = per_layer_inputs or {"passes": None, "mode": None}
    outputs = []

    def passes(start: int, end: int | None) -> Tree:
        return jax.tree.map(lambda leaf: leaf[start:end], inputs["passes"])

    def run_vanilla(place: str, x: jax.Array, start: int, count: int) -> jax.Array:
        is_shared = config.share_vanilla_layers

        def make(name: str) -> stack.LayerFunction:
            layer = block if is_shared else make_layer(f"{place}_{name}")
            return lambda x, index, states: layer(x, start + index, states)

        x, output = stack.run_layers(
            make,
            count,
            x,
            passes(start, start + count),
            scan=config.scan_layers and is_shared,
            remat=config.remat,
            shared=is_shared,
        )
        outputs.append(output)
        return x

    if before:
        x = run_vanilla("before", x, 0, before)
    mode = recurrence_modes.make_mode(config, segments, dropout_key, causal)
    embed_step = StepEmbedding(num_layers, name="step_embedding")

    def recur(carry: Tree, index: jax.Array, given: Tree) -> tuple[Tree, Tree]:
        states, mode_state = given
        entering = mode.state(carry)
        if config.step_embedding:
            entering = embed_step(entering, index)
        y, made = entering, []
        for number in range(per_recurrence):
            state = jax.tree.map(lambda leaf, n=number: leaf[n], states)
            y, output = block(y, before + index * per_recurrence + number, state)
            made.append(output)
        made = jax.tree.map(lambda *leaves: jnp.stack(leaves), *made)
        carry, said = mode.update(carry, entering, y, index, mode_state)
        return carry, (made, said)

    by_recurrence = jax.tree.map(
        lambda leaf: leaf.reshape(num_layers, per_recurrence, *leaf.shape[1:]),
        passes(*ends),
    )
    carry, (made, said) = stack.run_layers(
        lambda _: recur,
        num_layers,
        mode.start(x),
        (by_recurrence, inputs["mode"]),
        scan=config.scan_layers,
        remat=config.remat,
        shared=True,
    )
    outputs.append(jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), made))
    x, extras = mode.finish(carry, said)
    if after:
        x = run_vanilla("after", x, ends[1], after)
    result = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *outputs)
    if not isinstance(result, sublayers.Extras):
        result = {"passes": result, "mode": said}  # Decoding states.
    return residual.finish(config, x, segments, dropout_key), result, extras


class StepEmbedding(hk.Module):
    """Adds a learned embedding of the step to x [B, T, d].

    The table [R, d] is normal with standard deviation d^-1/2 and multiplied by d^1/2,
    so that embeddings have unit variance.

    Args:
        num_steps: R.
    """

    def __init__(self, num_steps: int, name: str | None = None):
        super().__init__(name=name)
        self.num_steps = num_steps

    def __call__(self, x: jax.Array, index: jax.Array) -> jax.Array:
        """Returns x plus the embedding of step `index`."""
        d_model = x.shape[-1]
        shape = (self.num_steps, d_model)
        init = parameters.normal(d_model**-0.5)
        table = parameters.make("table", shape, ("recurrence", "embed"), init)
        signal = table[index] * d_model**0.5
        return x + signal[None, None].astype(x.dtype)
