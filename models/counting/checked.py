"""Counts a model's parameters, the papers' multiply-adds, and true FLOPs.

Three kinds of cost are distinguished (ARCHITECTURES.md#costs):
- `macs_*`: the papers' "FLOPs", multiply-adds of one forward pass of a whole batch. The
  embedding lookup counts as a one-hot product, and targets are padded to 128.
- `flops_*`: algorithmic FLOPs at the real lengths, two per multiply-add, with free
  lookups. They do not depend on the implementation.
- `flops_*_executed`: FLOPs of the program on a platform, counted on its jaxpr. They
  include recomputed activations and exclude causal blocks that a kernel skips.
Only matrix products and convolutions count. In the first two kinds, attention is dense
and includes masked positions.
"""

from collections.abc import Callable
import dataclasses
from typing import Any

import jax

from clinometer.kernels import cost
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.models import config as config_lib
from clinometer.models import limits
from clinometer.models import model as model_lib
from clinometer.models.counting import closed_form as closed_form_lib
from clinometer.models.seq2seq import batch as batch_lib

PAPER_DECODER_LENGTH = 128
# The forward pass, and the gradients of both operands of every product.
TRAIN_STEP_FORWARDS = 3
_EXAMPLES = ranges.Whole(1)


class CountError(AssertionError):
    """Raised if the closed form and the count on the jaxpr disagree, which is a bug."""


@dataclasses.dataclass(frozen=True)
class TransformerCounts:
    """The cost of a model at one batch shape; FLOPs and multiply-adds are per batch.

    Attributes:
        model: canonical name.
        params_total: number of parameters.
        params_embedding: parameters of the embedding table, and of the output table if
            it is separate.
        params_non_embedding: all other parameters.
        params_active: parameters used by one token.
        batch_size: number of examples of a batch.
        encoder_length: S.
        decoder_length: T.
        macs_forward_batch: multiply-adds by the papers' convention, at
            `macs_decoder_length`.
        macs_decoder_length: T of the papers' convention.
        flops_forward: algorithmic FLOPs of the forward pass.
        flops_forward_non_embedding: the same without the logits.
        flops_train_step: algorithmic FLOPs of the forward and the backward pass.
        flops_forward_executed: FLOPs of the forward pass, counted on the jaxpr with the
            platform's kernels; like the next two, None if nothing was traced.
        flops_train_step_executed: the same for a training step without recomputation.
        flops_train_step_remat_executed: the same with every layer recomputed, as by
            the policy "layer".
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
    with_form: Callable[..., Any],
    closed_form: closed_form_lib.ClosedForm,
    batch_size: int,
    shape: batch_lib.TextShape,
    platform: str,
    trace: bool,
) -> TransformerCounts:
    """Counts an encoder-decoder; see `EncoderDecoder.count`.

    Args:
        with_form: (scan_layers, remat) -> the model with these options.
        closed_form: its cost in closed form.
        batch_size: number of examples of a batch.
        shape: shape of an example.
        platform: platform of the executed FLOPs.
        trace: trace the model to check the closed forms and count executed FLOPs.
    """
    check_examples(batch_size)
    # The time to trace scanned layers does not grow with the depth.
    model = with_form(scan_layers=True, remat="none")
    params = closed_form.param_counts(model.config)
    if params.total > limits.PARAMETERS:
        raise config_lib.ConfigError(
            f"{model.name}: {params.total:,} parameters; at most "
            f"{limits.PARAMETERS:,} are accepted"
        )
    lengths = shape.encoder_length, shape.decoder_length
    macs = closed_form.forward_macs(model.config, *lengths)
    paper_macs = closed_form.forward_macs(
        model.config, shape.encoder_length, PAPER_DECODER_LENGTH
    )
    flops_forward = 2 * batch_size * (macs.body + macs.logits)
    executed: tuple[int | None, int | None, int | None] = (None, None, None)
    if trace:
        abstract_params = model_lib.abstract_params(model)
        batch = model.abstract_batch(batch_size, shape)
        sizes = [leaf.size for leaf in jax.tree.leaves(abstract_params)]
        check_equal("parameters", params.total, sum(sizes))
        forward = jax.make_jaxpr(model.loss)(abstract_params, batch)
        check_equal("forward FLOPs", flops_forward, cost.count_jaxpr(forward))
        remat_model = with_form(scan_layers=True, remat="layer")
        executed = (
            cost.count_jaxpr(forward, platform),
            train_step_flops(model, batch, platform),
            train_step_flops(remat_model, batch, platform),
        )
    return TransformerCounts(
        model=model.name,
        params_total=params.total,
        params_embedding=params.embedding,
        params_non_embedding=params.total - params.embedding,
        params_active=params.active,
        batch_size=batch_size,
        encoder_length=shape.encoder_length,
        decoder_length=shape.decoder_length,
        macs_forward_batch=batch_size
        * (paper_macs.body + paper_macs.logits + paper_macs.lookup),
        macs_decoder_length=PAPER_DECODER_LENGTH,
        flops_forward=flops_forward,
        flops_forward_non_embedding=2 * batch_size * macs.body,
        flops_train_step=TRAIN_STEP_FORWARDS * flops_forward,
        flops_forward_executed=executed[0],
        flops_train_step_executed=executed[1],
        flops_train_step_remat_executed=executed[2],
    )


def train_step_flops(
    model: model_lib.Model, batch: model_lib.Batch, platform: str | None = None
) -> int:
    """Counts the FLOPs of a training step on the jaxpr of loss and gradients.

    Args:
        model: any model.
        batch: a batch, or the output of `model.abstract_batch`.
        platform: see `cost.count_flops`.
    """

    def objective(params: model_lib.Params, batch: model_lib.Batch) -> jax.Array:
        outputs = model.loss(params, batch, z_loss=1e-4)
        sums = outputs.sums
        return sums.loss_sum + sums.z_loss_sum + outputs.auxiliary_loss

    arguments = model_lib.abstract_params(model), batch
    return cost.count_flops(
        jax.value_and_grad(objective), *arguments, platform=platform
    )


def check_examples(batch_size: int) -> None:
    """Raises OptionError unless a number of examples of a batch is in range."""
    try:
        _EXAMPLES.check(batch_size)
    except OptionError as error:
        raise OptionError(f"batch_size: {error}") from None


def check_equal(what: str, closed: int, walked: int) -> None:
    """Raises CountError unless two counts of one thing agree.

    Args:
        what: what was counted.
        closed: count in closed form.
        walked: count on the traced program.
    """
    if closed != walked:
        raise CountError(
            f"{what}: {closed:,} in closed form, but {walked:,} in the traced program"
        )
