"""The Switch feed-forward layer, which routes each token to one of many experts.

See ARCHITECTURES.md#switch-routing.

Shapes: B batch, T length, d model width, f hidden width, E experts, G groups of N
tokens, in which each expert has capacity for C tokens.
"""

from collections.abc import Mapping
from collections.abc import Sequence
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.kernels.switch import Route
from clinometer.kernels.switch import expert_capacity
from clinometer.kernels.switch import expert_feed_forward
from clinometer.kernels.switch import load_balance_loss
from clinometer.kernels.switch import switch_combine
from clinometer.kernels.switch import switch_dispatch
from clinometer.kernels.switch import switch_route
from clinometer.models import config as config_lib
from clinometer.models import keys
from clinometer.models.layers import parameters


class Groups(NamedTuple):
    """How the tokens of a batch are divided into groups.

    Attributes:
        count: number of groups, G.
        num_tokens: tokens per group, N.
        padding: tokens to add to each sequence.
    """

    count: int
    num_tokens: int
    padding: int


def groups(
    batch: int, length: int, group_size: int, sequences_per_group: int = 0
) -> Groups:
    """Divides a batch into groups.

    The groups do not depend on the devices: how many tokens an expert accepts, and so
    the result, depends on them.

    Args:
        batch: B, number of sequences.
        length: T.
        group_size: maximum number of tokens per group if `sequences_per_group` is 0.
        sequences_per_group: number of sequences per group. 0 for the largest number
            that fits into `group_size` tokens and divides the batch; longer sequences
            are divided into equal groups.

    Raises:
        ConfigError: a value is out of range, or `sequences_per_group` does not divide
            the batch.
    """
    if group_size < 1:
        raise config_lib.ConfigError(
            f"group_size: must be at least 1, got {group_size}"
        )
    if sequences_per_group < 0 or (sequences_per_group and batch % sequences_per_group):
        raise config_lib.ConfigError(
            f"sequences_per_group: {sequences_per_group} does not divide a batch of "
            f"{batch} sequences; accepted: {_listed([0, *_divisors(batch)])}"
        )
    if sequences_per_group:
        return Groups(batch // sequences_per_group, sequences_per_group * length, 0)
    if length > group_size:
        parts = -(-length // group_size)
        num_tokens = -(-length // parts)
        return Groups(batch * parts, num_tokens, parts * num_tokens - length)
    most = group_size // length
    rows = max(n for n in range(1, min(batch, most) + 1) if batch % n == 0)
    return Groups(batch // rows, rows * length, 0)


def check_parts(
    batch: int,
    lengths: Mapping[str, int],
    group_size: int,
    sequences_per_group: int,
    parts: int,
) -> None:
    """Checks that the groups of a batch can be divided evenly over devices.

    Args:
        batch: B, a multiple of `parts`.
        lengths: T of each stack, by its name.
        group_size: see `groups`.
        sequences_per_group: see `groups`.
        parts: number of parts into which the devices divide a batch.

    Raises:
        ConfigError: `sequences_per_group` does not divide the batch, or `parts` does
            not divide the groups of a stack.
    """
    counts = {
        place: groups(batch, length, group_size, sequences_per_group).count
        for place, length in lengths.items()
    }
    if any(count % parts for count in counts.values()):
        formed = ", ".join(f"{count} in the {place}" for place, count in counts.items())
        raise config_lib.ConfigError(
            f"sequences_per_group: {sequences_per_group} makes groups of a batch of "
            f"{batch} sequences that cannot be divided over {parts} parts of the "
            f"devices: {formed}; accepted: {_listed(_divisors(batch // parts))}"
        )


def _divisors(number: int) -> list[int]:
    return [n for n in range(1, number + 1) if number % n == 0]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


class SwitchMetrics(NamedTuple):
    """Auxiliary losses and statistics of the router, float32.

    Means are over groups with at least one token that is not padding.

    Attributes:
        aux_loss: weighted load-balancing loss, to be added to the loss; equals its
            weight for perfect balance.
        z_loss: weighted mean squared log-sum-exp of the router's logits.
        load: fraction of tokens routed to each expert [E], before any is dropped.
        dropped: fraction of tokens that exceed the capacity of their expert.
    """

    aux_loss: jax.Array
    z_loss: jax.Array
    load: jax.Array
    dropped: jax.Array


class SwitchFFN(hk.Module):
    """`gate * dropout(relu(x wi_e)) wo_e`, where e is the expert with the largest gate.

    The parameters `router` [d, E], `wi` [E, d, f] and `wo` [E, f, d] are
    TruncatedNormal((init_scale / fan_in)^1/2); there are no biases. The output is 0 for
    padding and for tokens that exceed the capacity of their expert. With one expert and
    a capacity factor of at least 1, the layer equals `FeedForward`. The router computes
    in float32.

    Capacity applies to groups of tokens; see `groups`.

    Source: Fedus et al. 2021; ARCHITECTURES.md#switch-routing. Where public code
    disagrees: groups of Mesh TensorFlow cross sequences where that divides better; the
    paper recommends an init_scale of 0.1, Mesh TensorFlow has 1, and T5X has 0.1 and a
    router of N(0, 0.02).

    Args:
        d_ff: f, of each expert.
        num_experts: E.
        capacity_factor: capacity factor in training; see `kernels.expert_capacity`.
        eval_capacity_factor: capacity factor in evaluation.
        min_capacity: minimum C.
        group_size: see `groups`.
        sequences_per_group: see `groups`.
        jitter: noise e; in training the router's input is multiplied by
            U(1 - e, 1 + e).
        dropout_rate: dropout rate on the hidden layer, drawn for each element.
        aux_loss_weight: weight of the load-balancing loss.
        z_loss_weight: weight of the router z-loss.
        init_scale: variance of all initialisers, times fan-in.
        implementation: implementation of the kernels; see `kernels.switch_route`.
    """

    def __init__(
        self,
        d_ff: int,
        num_experts: int,
        capacity_factor: float = 1.25,
        eval_capacity_factor: float = 2.0,
        min_capacity: int = 4,
        group_size: int = 1024,
        sequences_per_group: int = 0,
        jitter: float = 0.01,
        dropout_rate: float = 0.0,
        aux_loss_weight: float = 0.01,
        z_loss_weight: float = 0.0,
        init_scale: float = 1.0,
        implementation: str | Sequence[str] = "auto",
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.d_ff = d_ff
        self.num_experts = num_experts
        self.capacity_factor = capacity_factor
        self.eval_capacity_factor = eval_capacity_factor
        self.min_capacity = min_capacity
        self.group_size = group_size
        self.sequences_per_group = sequences_per_group
        self.jitter = jitter
        self.dropout_rate = dropout_rate
        self.aux_loss_weight = aux_loss_weight
        self.z_loss_weight = z_loss_weight
        self.init_scale = init_scale
        self.implementation = implementation

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        mask: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
        *,
        is_training: bool | None = None,
        exact: bool = False,
    ) -> tuple[jax.Array, SwitchMetrics]:  # [B, T, d]
        """Transforms each token by its expert.

        Args:
            x: [B, T, d].
            mask: bool [B, T], False at padding, which is not routed; None for all True.
            dropout_key: random key of jitter and dropout; None for neither.
            is_training: whether to use `capacity_factor`, jitter and dropout; None for
                training if and only if a key is given.
            exact: set the capacity so that no token is dropped or depends on others,
                for decoding, where groups are small.

        Returns:
            [B, T, d] and the router's losses and statistics.

        Raises:
            ConfigError: `sequences_per_group` does not divide the batch.
        """
        batch, length, d_model = x.shape
        # Where no token is dropped, and for initial parameters, groups do not matter.
        fixed = 0 if hk.running_init() else self.sequences_per_group
        if exact:  # Groups are then without effect, and the smallest divide best.
            fixed = 1
        _, num_tokens, padding = groups(batch, length, self.group_size, fixed)
        if mask is None:
            mask = jnp.ones((batch, length), jnp.bool_)
        elif mask.shape != (batch, length) or mask.dtype != jnp.bool_:
            raise ValueError(
                f"SwitchFFN: mask: must be bool {(batch, length)}, got {mask.dtype} "
                f"{mask.shape}"
            )
        if is_training is None:
            is_training = dropout_key is not None
        if not is_training:
            dropout_key = None
        tokens = jnp.pad(x, ((0, 0), (0, padding), (0, 0)))
        tokens = tokens.reshape(-1, num_tokens, d_model)
        tokens = constrain(tokens, ("batch", None, None))
        mask = jnp.pad(mask, ((0, 0), (0, padding))).reshape(-1, num_tokens)
        factor = self.capacity_factor if is_training else self.eval_capacity_factor
        capacity = num_tokens
        if not exact:
            capacity = expert_capacity(
                num_tokens, self.num_experts, factor, self.min_capacity
            )
        route = switch_route(
            self._logits(tokens, keys.fold(dropout_key, "jitter")),
            capacity=capacity,
            mask=mask,
            implementation=self.implementation,
        )
        y = expert_feed_forward(
            switch_dispatch(
                tokens,
                route.slot,
                num_experts=self.num_experts,
                capacity=capacity,
                implementation=self.implementation,
            ),
            self._kernel(
                "wi",
                (self.num_experts, d_model, self.d_ff),
                ("expert", "embed", "mlp"),
            ).astype(x.dtype),
            self._kernel(
                "wo",
                (self.num_experts, self.d_ff, d_model),
                ("expert", "mlp", "embed"),
            ).astype(x.dtype),
            route.counts,
            num_tokens=num_tokens,
            dropout_rate=self.dropout_rate,
            dropout_key=keys.fold(dropout_key, "hidden"),
            implementation=self.implementation,
        )
        y = switch_combine(
            y, route.slot, route.gate, implementation=self.implementation
        )
        y = y.reshape(batch, length + padding, d_model)[:, :length]
        return y, self._metrics(route, mask)

    def _logits(self, tokens: jax.Array, key: jax.Array | None) -> jax.Array:
        """Returns the router's logits, float32 [G, N, E]."""
        tokens = tokens.astype(jnp.float32)
        if key is not None and self.jitter:
            low, high = 1.0 - self.jitter, 1.0 + self.jitter
            tokens *= jax.random.uniform(key, tokens.shape, minval=low, maxval=high)
        shape = (tokens.shape[-1], self.num_experts)
        router = self._kernel("router", shape, ("embed", "expert"))
        logits = jnp.dot(tokens, router, precision=jax.lax.Precision.HIGHEST)
        return constrain(logits, ("batch", None, None))

    def _kernel(
        self, name: str, shape: tuple[int, ...], axes: parameters.Axes
    ) -> jax.Array:
        init = parameters.truncated_normal(shape[-2], self.init_scale)
        return parameters.make(name, shape, axes, init)

    def _metrics(self, route: Route, mask: jax.Array) -> SwitchMetrics:
        used = jnp.any(mask, axis=1)
        # All means are zero in groups that consist of padding.
        share = mask.shape[0] / jnp.maximum(jnp.sum(used), 1)
        dropped = jnp.sum(mask & (route.slot < 0)) / jnp.maximum(jnp.sum(mask), 1)
        balance = load_balance_loss(route.load, route.probability)
        return SwitchMetrics(
            aux_loss=self.aux_loss_weight * share * balance,
            z_loss=self.z_loss_weight * share * jnp.mean(route.z),
            load=share * jnp.mean(route.load, axis=0),
            dropped=dropped,
        )
