"""Small models of every architecture, for tests of their common properties.

Shapes: B batch, S encoder length, T decoder length.
"""

from collections.abc import Callable
import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer import models
from clinometer.models.seq2seq import model as seq2seq

VOCAB_SIZE = 64
B, S, T = 2, 12, 7


@dataclasses.dataclass(frozen=True)
class Example:
    """A model, and the common properties that do not hold for it.

    Attributes:
        name: name of the model.
        options: options besides vocabulary and dropout.
        fixed_length: whether the encoder accepts one length only, so that inputs cannot
            be padded.
        normalises: whether logits are normalised, so that each depends on every row of
            the table.
        no_gradient: parts of the names of parameters without a gradient.
    """

    name: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    fixed_length: bool = False
    normalises: bool = False
    no_gradient: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Returns the test id."""
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.options.items())])

    def build(self, **options: Any) -> models.EncoderDecoder:
        """Builds the model, by default without dropout."""
        fields = {"vocab_size": VOCAB_SIZE, "dropout_rate": 0.0, **self.options}
        return models.build(self.name, **{**fields, **options})

    @functools.cache  # noqa: B019 (examples live as long as the tests)
    def params(self) -> seq2seq.Params:
        """Initialises the parameters in canonical form."""
        # Not jitted: the compiled operations are reused by other architectures.
        return self.build().init(jax.random.key(0))

    @functools.cache  # noqa: B019
    def apply(self) -> Callable[..., jax.Array]:
        """Returns the jitted `apply`, the same for all tests."""
        return jax.jit(self.build().apply)

    def __hash__(self) -> int:
        return hash(self.label)


EXAMPLES = [
    Example("transformer-pico"),
    Example("transformer-SH-SKV-PI"),
    Example("evolved-pico"),
    Example("universal-pico"),
    # No token is dropped, as dropping depends on other rows of a batch.
    Example("switch-pico", {"num_experts": 4, "eval_capacity_factor": 4.0}),
    Example("performer-pico"),
    Example("funnel-pico"),
    Example("albert-pico", {"d_embedding": 8}),
    Example("mos-pico", {"num_softmaxes": 3, "head_tokens": 6}, normalises=True),
    Example("glu-pico"),
    Example("lconv-pico", {"kernel_size": 5}),
    Example("dconv-pico", {"kernel_size": 5}),
    Example("mixer-pico", {"sequence_length": S, "mixing_width": 8}, fixed_length=True),
]
ARCHITECTURE_EXAMPLES = {example.name.partition("-")[0] for example in EXAMPLES}


def encoder_tokens(seed: int = 1) -> jax.Array:
    """Draws tokens [B, S] without padding."""
    return jax.random.randint(jax.random.key(seed), (B, S), 2, VOCAB_SIZE)


def decoder_tokens(seed: int = 2) -> jax.Array:
    """Draws tokens [B, T], with the start token first."""
    drawn = jax.random.randint(jax.random.key(seed), (B, T), 2, VOCAB_SIZE)
    return drawn.at[:, 0].set(0)


def targets(seed: int = 3) -> jax.Array:
    """Draws targets [B, T]."""
    return jax.random.randint(jax.random.key(seed), (B, T), 1, VOCAB_SIZE)


def objective(model: models.EncoderDecoder) -> Any:
    """Returns the training objective, a function (params, dropout_key) -> scalar."""

    def function(params: Any, dropout_key: jax.Array | None = None) -> jax.Array:
        outputs = model.forward(
            params, encoder_tokens(), decoder_tokens(), dropout_key=dropout_key
        )
        sums = models.loss.cross_entropy(outputs.logits, targets(), 1e-4)
        mean = (sums.loss_sum + sums.z_loss_sum) / (B * T)
        return mean + outputs.auxiliary_loss

    return function


def assert_decodes_as_taught(
    model: models.EncoderDecoder,
    params: Any,
    inputs: jax.Array,
    outputs: jax.Array,
    forced: jax.Array | None = None,
    encoded: seq2seq.Encoded | None = None,
    atol: float = 3e-5,
) -> seq2seq.Cache:
    """Asserts that step-by-step decoding gives the logits of teacher forcing.

    Args:
        model: any model.
        params: its parameters.
        inputs: encoder tokens [B, S].
        outputs: decoder tokens [B, T].
        forced: logits of teacher forcing [B, T, V]; None to compute them.
        encoded: output of the encoder; None to encode `inputs`.
        atol: absolute tolerance of the logits, whose standard deviation is about 1.

    Returns:
        The state after the last step.
    """
    if forced is None:
        forced = jax.jit(model.apply)(params, inputs, outputs)
    if encoded is None:
        encoded = jax.jit(model.encode)(params, inputs)
    length = outputs.shape[1]
    cache = jax.jit(model.init_cache, static_argnums=2)(params, encoded, length)
    step = jax.jit(model.decode_step)
    for t in range(length):
        logits, cache = step(params, cache, outputs[:, t])
        np.testing.assert_allclose(logits, forced[:, t], rtol=1e-4, atol=atol)
    return cache


def assert_trees_close(got: Any, want: Any, rtol: float, atol: float) -> None:
    """Asserts that leaves are close; `atol` is relative to each leaf's maximum."""
    assert got.keys() == want.keys()
    for module, leaves in want.items():
        for name, leaf in leaves.items():
            np.testing.assert_allclose(
                got[module][name],
                leaf,
                rtol=rtol,
                atol=atol * float(jnp.abs(leaf).max()),
                err_msg=f"{module}/{name}",
            )
