"""The Switch Transformer: experts in every other feed-forward sublayer.

See ARCHITECTURES.md#switch-transformer; Fedus et al. 2021. In layers 1, 3, 5, ... of
both stacks (counted from 0), a router sends each token to one expert; layers 0, 2, 4,
... are T5's. The unit of a stack is such a pair, one `Layer` with the sublayers of both
(`dense_...`, `sparse_...`), so that equal units can be scanned. Everything else is the
vanilla Transformer.

Tay et al. 2022 do not state the number of experts, only that models reach 40B
parameters. Here tiny to large have 32, xl has 48 (40.7B parameters), and xxl and xxxl
have 48 as well, with far more than 40B; pico to milli have 8, as their batches are
small.

Where public code disagrees: Mesh TensorFlow initialises router and experts with
variance 1 / fan_in (`expert_init_scale` 1), the paper and T5X with a tenth of it (0.1).
Capacity applies to groups of at most `group_size` tokens: 1024 in Mesh TensorFlow, in
T5X 8192 at base and 4096 at large. A dropped token gets 0; some implementations return
its normalised input instead. Groups are not divided over devices; many devices need
small ones, which `sequences_per_group` sets.

Decoding has capacity for every token, because its groups consist of different rows of
the batch, which must not depend on each other. In evaluation, and in the encoder while
decoding, `eval_capacity_factor` applies; with a value of E no token is dropped.

Shapes: B batch, T length, S encoder length, d model width, f hidden width, E experts.
"""

import dataclasses
from typing import Any

import jax

from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import sublayers
from clinometer.models.layers import switch_ffn
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

# Overrides for sizes that don't use the default of 32.
EXPERTS = dict.fromkeys(("pico", "nano", "micro", "milli"), 8)
EXPERTS |= dict.fromkeys(("xl", "xxl", "xxxl"), 48)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a Switch Transformer; both depths must be even.

    Attributes:
        num_experts: number of experts E of each sparse layer.
        capacity_factor: capacity of an expert in training, as a multiple of the tokens
            of a group divided by E.
        eval_capacity_factor: the same in evaluation; with E no token is dropped.
        min_capacity: minimum capacity of an expert, in tokens.
        group_size: maximum number of tokens per group, if sequences_per_group is 0.
        sequences_per_group: number of sequences per group, which must divide the rows
            of a microbatch. 0 for the largest number that fits into group_size tokens
            and divides them. The groups must divide evenly over the devices.
        router_jitter: noise e; in training the router's input is multiplied by
            U(1 - e, 1 + e).
        aux_loss_weight: weight of the load-balancing loss of each sparse layer.
        router_z_loss_weight: weight of the router z-loss of each sparse layer.
        expert_init_scale: variance of the initialisers of router and experts, times
            fan-in.
        expert_dropout_rate: dropout rate on the hidden layer of experts, drawn for each
            element; -1 for dropout_rate. Fedus et al. fine-tune with 0.4.
    """

    num_experts: int = 32
    capacity_factor: float = 1.25
    eval_capacity_factor: float = 2.0
    min_capacity: int = 4
    group_size: int = 1024
    sequences_per_group: int = 0
    router_jitter: float = 0.01
    aux_loss_weight: float = 0.01
    router_z_loss_weight: float = 0.0
    expert_init_scale: float = 1.0
    expert_dropout_rate: float = -1.0

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(self, "ffn_activation", ("relu",))
        for field in ("num_encoder_layers", "num_decoder_layers"):
            if getattr(self, field) % 2:
                raise config_lib.ConfigError(
                    f"{field}: must be even, as every other layer has experts; got "
                    f"{getattr(self, field)}"
                )
        for field in ("capacity_factor", "eval_capacity_factor", "expert_init_scale"):
            if getattr(self, field) <= 0:
                raise config_lib.ConfigError(
                    f"{field}: must be positive, got {getattr(self, field)}"
                )
        for field in ("aux_loss_weight", "router_z_loss_weight"):
            if getattr(self, field) < 0:
                raise config_lib.ConfigError(
                    f"{field}: must not be negative, got {getattr(self, field)}"
                )
        config_lib.check_share(self, "router_jitter")
        if self.expert_dropout_rate != -1 and not 0 <= self.expert_dropout_rate < 1:
            raise config_lib.ConfigError(
                "expert_dropout_rate: must lie in [0, 1), or be -1 for dropout_rate; "
                f"got {self.expert_dropout_rate}"
            )

    def check_parts(
        self, batch_size: int, encoder_length: int, decoder_length: int, parts: int
    ) -> None:
        """See `TransformerConfig.check_parts`; groups are not divided either."""
        super().check_parts(batch_size, encoder_length, decoder_length, parts)
        lengths = {"encoder": encoder_length, "decoder": decoder_length}
        switch_ffn.check_parts(
            batch_size, lengths, self.group_size, self.sequences_per_group, parts
        )


@dataclasses.dataclass(frozen=True)
class SwitchFeedForward(sublayers.Stateless):
    """Feed-forward sublayer with experts.

    Its health metrics are `load` [E], the fraction of tokens routed to each expert, and
    `dropped`, the fraction of tokens that exceeded the capacity of their expert.

    Attributes:
        module: the Haiku module.
    """

    module: switch_ffn.SwitchFFN

    def __call__(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """See `sublayers.Sublayer`; padding is not routed."""
        y, metrics = self.module(x, context.segments != 0, dropout_key)
        health = {"load": metrics.load, "dropped": metrics.dropped}
        return y, sublayers.Extras(metrics.aux_loss + metrics.z_loss, health)

    def step(
        self, x: jax.Array, state: sublayers.State, context: sublayers.SublayerContext
    ) -> tuple[jax.Array, sublayers.State]:
        """Routes one token per row; none is dropped."""
        del context
        return self.module(x, exact=True)[0], state


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""

    def encoder_unit() -> dict[str, sublayers.Sublayer]:
        return {
            "dense_self_attention": _self_attention(config, "dense", causal=False),
            "dense_feed_forward": sublayers.position_wise(config, "dense_feed_forward"),
            "sparse_self_attention": _self_attention(config, "sparse", causal=False),
            "sparse_feed_forward": _experts(config),
        }

    def decoder_unit() -> dict[str, sublayers.Sublayer]:
        return {
            "dense_self_attention": _self_attention(config, "dense", causal=True),
            "dense_cross_attention": _cross_attention(config, "dense"),
            "dense_feed_forward": sublayers.position_wise(config, "dense_feed_forward"),
            "sparse_self_attention": _self_attention(config, "sparse", causal=True),
            "sparse_cross_attention": _cross_attention(config, "sparse"),
            "sparse_feed_forward": _experts(config),
        }

    encoder = encoder_decoder.Encoder(
        config, encoder_unit, num_layers=config.num_encoder_layers // 2
    )
    decoder = encoder_decoder.Decoder(
        config, decoder_unit, num_layers=config.num_decoder_layers // 2
    )
    return encoder_decoder.make_network(config, encoder, decoder)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form.

    Each sparse layer has E - 1 more experts than the vanilla model, and a router.
    """
    vanilla = transformer.param_counts(config)
    sparse = (config.num_encoder_layers + config.num_decoder_layers) // 2
    router = config.d_model * config.num_experts
    experts = (config.num_experts - 1) * closed_form.feed_forward_params(config)
    return dataclasses.replace(
        vanilla,
        total=vanilla.total + sparse * (router + experts),
        active=vanilla.active + sparse * router,
    )


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form.

    They are the vanilla model's and the routers'; empty slots do not count.
    """
    vanilla = transformer.forward_macs(config, encoder_length, decoder_length)
    router = config.d_model * config.num_experts
    tokens = (
        config.num_encoder_layers * encoder_length
        + config.num_decoder_layers * decoder_length
    ) // 2
    return dataclasses.replace(vanilla, body=vanilla.body + tokens * router)


def size_fields(size: str) -> dict[str, Any]:
    """Returns the number of experts of a size, if it is not the default."""
    return {"num_experts": EXPERTS[size]} if size in EXPERTS else {}


def _self_attention(
    config: Config, kind: str, *, causal: bool
) -> sublayers.SelfAttentionSublayer:
    return sublayers.self_attention(
        config, causal=causal, name=f"{kind}_self_attention"
    )


def _cross_attention(config: Config, kind: str) -> sublayers.CrossAttentionSublayer:
    return sublayers.cross_attention(config, f"{kind}_cross_attention")


def _experts(config: Config) -> SwitchFeedForward:
    dropout_rate = config.expert_dropout_rate
    module = switch_ffn.SwitchFFN(
        config.ffn_width,
        config.num_experts,
        config.capacity_factor,
        config.eval_capacity_factor,
        config.min_capacity,
        config.group_size,
        config.sequences_per_group,
        config.router_jitter,
        config.dropout_rate if dropout_rate == -1 else dropout_rate,
        config.aux_loss_weight,
        config.router_z_loss_weight,
        config.expert_init_scale,
        config.implementation,
        name="sparse_feed_forward",
    )
    return SwitchFeedForward(module)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    size_fields,
    # As Fedus et al. 2021.
    dropout_rates={"dropout_rate": 0.1, "expert_dropout_rate": 0.4},
    family="richer layers",
    mark="star",
)
