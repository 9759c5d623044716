"""What a model costs: parameters, the papers' multiply-adds, and true FLOPs.

Three notions are kept apart (ARCHITECTURES.md#costs):
- `macs_*`: the papers' "FLOPs": multiply-adds of one forward pass of a whole batch, the
  embedding lookup counted as a one-hot product, targets padded to 128.
- `flops_*`: algorithmic FLOPs, what the maths needs, at the real lengths: two a
  multiply-add, a lookup counts nothing. They do not depend on the implementation.
- `flops_*_executed`: what the program runs on a platform, counted on its jaxpr:
  recomputed activations included, causal blocks that a kernel skips left out.
Only matrix products and convolutions count. In the first two attention is dense, masked
positions included.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from clinometer.kernels import cost
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import config as config_lib
from clinometer.models import limits
from clinometer.models.architectures import registry
from clinometer.models.layers import stack
from clinometer.models.seq2seq import loss as loss_lib
from clinometer.models.seq2seq import model as seq2seq

PAPER_DECODER_LENGTH = 128
# Forward, and the gradients by both operands of every product.
TRAIN_STEP_FORWARDS = 3
_LENGTH = ranges.Whole(1)


class CountError(AssertionError):
    """The closed form and the count on the jaxpr disagree: a defect in one of them."""


@dataclasses.dataclass(frozen=True)
class Counts:
    """Costs of one model at one batch shape; FLOPs and multiply-adds of a whole batch.

    Attributes:
        model: canonical name.
        params_total: all parameters.
        params_embedding: of the embedding table, and of an output table of its own.
        params_non_embedding: the rest.
        params_active: used by one token.
        batch_size: examples of a batch.
        encoder_length: S.
        decoder_length: T.
        macs_forward_batch: the papers' convention, at `macs_decoder_length`.
        macs_decoder_length: T of the papers' convention.
        flops_forward: algorithmic.
        flops_forward_non_embedding: algorithmic, without the logits' product.
        flops_train_step: algorithmic, forward and backward.
        flops_forward_executed: on the jaxpr, of the platform's kernels; None, as the
            next two, if nothing was traced.
        flops_train_step_executed: the same, no layer recomputed.
        flops_train_step_remat_executed: the same, every layer recomputed.
    """

    model: str
    params_total: int
    params_embedding: int
    params_non_embedding: int
    params_active: int
    batch_size: int
    encoder_length: int
    decoder_length: int
    macs_forward_batch: int
    macs_decoder_length: int
    flops_forward: int
    flops_forward_non_embedding: int
    flops_train_step: int
    flops_forward_executed: int | None
    flops_train_step_executed: int | None
    flops_train_step_remat_executed: int | None

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts under the keys of `clinometer count --json`."""
        return dataclasses.asdict(self)


def count(
    name: str,
    *,
    batch_size: int = 128,
    encoder_length: int = 512,
    decoder_length: int = 114,
    macs_decoder_length: int = PAPER_DECODER_LENGTH,
    platform: str = "cpu",
    trace: bool = True,
    **overrides: Any,
) -> Counts:
    """Counts one model without allocating or compiling anything.

    Args:
        name: as for `registry.build`.
        batch_size: examples of a batch.
        encoder_length: S.
        decoder_length: T.
        macs_decoder_length: T of the papers' convention.
        platform: whose kernels the executed FLOPs are of: "cpu", "tpu", ...
        trace: trace the model, to check the closed forms and to count what is executed;
            without it, a count takes a millisecond.
        **overrides: as for `registry.build`.

    Raises:
        ModelNameError, ConfigError: as `registry.build`; more than
            `limits.PARAMETERS` parameters.
        OptionError: a batch or length is out of range.
        CountError: closed form and jaxpr disagree.
    """
    for key, value in (
        ("batch_size", batch_size),
        ("encoder_length", encoder_length),
        ("decoder_length", decoder_length),
        ("macs_decoder_length", macs_decoder_length),
    ):
        try:
            _LENGTH.check(value)
        except OptionError as error:
            raise OptionError(f"{key}: {error}") from None
    architecture = registry.ARCHITECTURES[registry.parse(name).architecture]
    if architecture.length_field:
        overrides = {architecture.length_field: encoder_length, **overrides}
    # Scanned layers trace in a time that does not grow with the depth.
    overrides = {**overrides, "scan_layers": True, "remat": False}
    model = registry.build(name, **overrides)
    config = model.config

    params = architecture.param_counts(config)
    if params.total > limits.PARAMETERS:
        raise config_lib.ConfigError(
            f"{model.name}: {params.total:,} parameters; at most "
            f"{limits.PARAMETERS:,} are accepted"
        )
    macs = architecture.forward_macs(config, encoder_length, decoder_length)
    paper_macs = architecture.forward_macs(config, encoder_length, macs_decoder_length)
    flops_forward = 2 * batch_size * (macs.body + macs.logits)
    executed: tuple[int | None, int | None, int | None] = (None, None, None)
    if trace:
        arguments = abstract_arguments(
            model, batch_size, encoder_length, decoder_length
        )
        sizes = [leaf.size for leaf in jax.tree.leaves(arguments[0])]
        _check("parameters", params.total, sum(sizes))
        forward = jax.make_jaxpr(model.apply)(*arguments[:3])
        _check("forward FLOPs", flops_forward, cost.count_jaxpr(forward))
        remat_model = registry.build(name, **{**overrides, "remat": True})
        executed = (
            cost.count_jaxpr(forward, platform),
            train_step_flops(model, arguments, platform),
            train_step_flops(remat_model, arguments, platform),
        )
    return Counts(
        model=model.name,
        params_total=params.total,
        params_embedding=params.embedding,
        params_non_embedding=params.total - params.embedding,
        params_active=params.active,
        batch_size=batch_size,
        encoder_length=encoder_length,
        decoder_length=decoder_length,
        macs_forward_batch=batch_size
        * (paper_macs.body + paper_macs.logits + paper_macs.lookup),
        macs_decoder_length=macs_decoder_length,
        flops_forward=flops_forward,
        flops_forward_non_embedding=2 * batch_size * macs.body,
        flops_train_step=TRAIN_STEP_FORWARDS * flops_forward,
        flops_forward_executed=executed[0],
        flops_train_step_executed=executed[1],
        flops_train_step_remat_executed=executed[2],
    )


def train_step_flops(
    model: seq2seq.Model, arguments: tuple[Any, ...], platform: str | None = None
) -> int:
    """FLOPs on the jaxpr of loss and gradients.

    Args:
        model: any.
        arguments: of `abstract_arguments`.
        platform: as `cost.count_flops`.
    """

    def mean_loss(params, encoder_tokens, decoder_tokens, targets):
        outputs = model.forward(params, encoder_tokens, decoder_tokens)
        sums = loss_lib.cross_entropy(outputs.logits, targets, z_loss=1e-4)
        return sums.loss_sum + sums.z_loss_sum + outputs.auxiliary_loss

    return cost.count_flops(
        jax.value_and_grad(mean_loss), *arguments, platform=platform
    )


def abstract_arguments(
    model: seq2seq.Model, batch_size: int, encoder_length: int, decoder_length: int
) -> tuple[Any, ...]:
    """Shapes of parameters, encoder and decoder tokens, and targets of a batch."""
    params = jax.eval_shape(model.init, jax.random.key(0))
    if model.config.scan_layers:
        params = jax.eval_shape(stack.stack_params, params)
    encoder_tokens = jax.ShapeDtypeStruct((batch_size, encoder_length), jnp.int32)
    decoder_tokens = jax.ShapeDtypeStruct((batch_size, decoder_length), jnp.int32)
    return params, encoder_tokens, decoder_tokens, decoder_tokens


def _check(what: str, closed: int, walked: int) -> None:
    if closed != walked:
        raise CountError(f"{what}: closed form {closed:,}, on the jaxpr {walked:,}")
