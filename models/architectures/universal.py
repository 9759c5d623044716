"""The Universal Transformer, which applies one block per stack repeatedly.

See ARCHITECTURES.md#universal-transformer; Dehghani et al. 2018 as implemented in Mesh
TensorFlow. Before each recurrence, a learned embedding of the step is added; norms are
full layer norms. `num_encoder_layers` and `num_decoder_layers` are the numbers of
recurrences (with "act" the maximum), by default the size's numbers of layers, since the
papers state none. The block's weights are the same for all of them.

Where sources disagree: Mesh TensorFlow runs ACT for one step more than its limit, with
no step embedding there; this model stops at the limit. Mesh TensorFlow refers to a
sinusoidal step signal and to position signals that are never applied; this model has
neither. Its ACT has no ponder loss; this model, like Tensor2Tensor, adds
`ponder_weight` times the mean of N + R, over positions that are not padding. In the
decoder, "global" halting does not depend on later positions (see `halting.Halting`).

Shapes: S encoder length, T decoder length, d model width.
"""

import dataclasses
import functools

from clinometer.models import config as config_lib
from clinometer.models.architectures import architecture
from clinometer.models.architectures import transformer
from clinometer.models.counting import closed_form
from clinometer.models.layers import halting
from clinometer.models.layers import recurrence
from clinometer.models.seq2seq import encoder_decoder
from clinometer.models.seq2seq import model as seq2seq

RECURRENCES = ("basic", "highway", "act")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(config_lib.TransformerConfig):
    """Shape and options of a Universal Transformer.

    Attributes:
        norm: "layer" (full layer norms, as in Mesh TensorFlow) or "rms".
        recurrence: how the next state is computed: "basic", "highway" or "act".
        step_embedding: add a learned embedding of the step before each recurrence.
        num_inrecurrence_layers: number of passes through the block per recurrence.
        vanilla_before: run vanilla layers, without step embeddings, before the
            recurrences.
        vanilla_after: run vanilla layers after the recurrences.
        num_vanilla_layers: number of vanilla layers, each before and after.
        share_vanilla_layers: use the block itself as vanilla layer, as in Mesh
            TensorFlow, instead of layers with separate weights.
        highway_inputs: inputs of the highway gates, a string of the letters "s"
            (state), "t" (transformed state) and "i" (input of the first recurrence).
        couple_gates: set the highway's carry gate to 1 - its transform gate.
        act_type: one of `halting.TYPES`; "accumulated" is Graves' mean of states.
        act_epsilon: a position halts once its summed probability exceeds
            1 - act_epsilon.
        halting_bias_init: initial bias of the halting unit.
        ponder_weight: weight of the ponder cost, mean steps plus mean remainder, in
            the loss.
    """

    norm: str = "layer"
    recurrence: str = "basic"
    step_embedding: bool = True
    num_inrecurrence_layers: int = 1
    vanilla_before: bool = False
    vanilla_after: bool = False
    num_vanilla_layers: int = 2
    share_vanilla_layers: bool = True
    highway_inputs: str = "sti"
    couple_gates: bool = True
    act_type: str = "basic"
    act_epsilon: float = 0.01
    halting_bias_init: float = 0.0
    ponder_weight: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        config_lib.check_choice(self, "recurrence", RECURRENCES)
        config_lib.check_choice(self, "act_type", halting.TYPES)
        letters = set(self.highway_inputs)
        if (
            not letters
            or letters - set("sti")
            or len(letters) < len(self.highway_inputs)
        ):
            raise config_lib.ConfigError(
                'highway_inputs: must be letters out of "s", "t" and "i", each at most '
                f"once; got {self.highway_inputs!r}"
            )
        if not 0 < self.act_epsilon <= 1:
            raise config_lib.ConfigError(
                f"act_epsilon: must lie in (0, 1], got {self.act_epsilon}"
            )
        if self.ponder_weight < 0:
            raise config_lib.ConfigError(
                f"ponder_weight: must not be negative, got {self.ponder_weight}"
            )
        if self.ponder_weight and self.recurrence != "act":
            raise config_lib.ConfigError(
                f'ponder_weight: {self.ponder_weight} requires recurrence "act", got '
                f"{self.recurrence!r}"
            )


def make_network(config: Config) -> seq2seq.Network:
    """Builds the network; must be called inside `hk.transform`."""
    run_stack = functools.partial(recurrence.run_stack, causal=False)
    encoder = transformer.make_encoder(config, run_stack=run_stack)
    run_stack = functools.partial(recurrence.run_stack, causal=True)
    decoder = transformer.make_decoder(config, run_stack=run_stack)
    return encoder_decoder.make_network(config, encoder, decoder)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Returns the numbers of parameters in closed form."""
    d_model = config.d_model
    blocks = 1
    if not config.share_vanilla_layers:
        blocks += _num_vanilla(config)
    beside = 0  # Parameters outside of the blocks, of both stacks.
    if config.step_embedding:
        beside += (config.num_encoder_layers + config.num_decoder_layers) * d_model
    if config.recurrence == "highway":
        gates = _gate_products(config) * d_model**2 + _num_gates(config) * d_model
        norms = len(config.highway_inputs) * closed_form.norm_params(config)
        beside += 2 * (gates + norms)
    if config.recurrence == "act" and config.act_type != "random":
        beside += 2 * (d_model + 1)
    one_block = dataclasses.replace(
        config, num_encoder_layers=blocks, num_decoder_layers=blocks
    )
    return transformer.param_counts(one_block, beside)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Returns the multiply-adds of one example in closed form.

    They are those of a Transformer with as many layers as there are passes, plus those
    of the gates or the halting unit.
    """
    encoder_passes, decoder_passes = (
        _num_vanilla(config) + recurrences * config.num_inrecurrence_layers
        for recurrences in (config.num_encoder_layers, config.num_decoder_layers)
    )
    unrolled = dataclasses.replace(
        config, num_encoder_layers=encoder_passes, num_decoder_layers=decoder_passes
    )
    macs = transformer.forward_macs(unrolled, encoder_length, decoder_length)
    positions = (
        config.num_encoder_layers * encoder_length
        + config.num_decoder_layers * decoder_length
    )
    beside = 0  # Outside of the block, per position and recurrence.
    if config.recurrence == "highway":
        beside = _gate_products(config) * config.d_model**2
    if config.recurrence == "act" and config.act_type != "random":
        beside = config.d_model
    return dataclasses.replace(macs, body=macs.body + positions * beside)


def _num_vanilla(config: Config) -> int:
    """Returns the number of vanilla layers of a stack."""
    return (config.vanilla_before + config.vanilla_after) * config.num_vanilla_layers


def _num_gates(config: Config) -> int:
    return 1 if config.couple_gates else 2


def _gate_products(config: Config) -> int:
    """Returns the number of [d, d] matrices in the gates of one stack."""
    return _num_gates(config) * len(config.highway_inputs)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    family="shared weights",
    mark="hexagon",
)
