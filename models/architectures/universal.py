"""The Universal Transformer: one block a stack, run again and again.

See ARCHITECTURES.md#universal-transformer; Dehghani et al. 2018 as Mesh TensorFlow has
it. Before each recurrence a learned embedding of the step is added; norms are full
layer norms. `num_encoder_layers` and `num_decoder_layers` are recurrences (with "act"
the most), as many as the size's layers: the papers print no number. Weights do not grow
with them.

Where sources disagree: Mesh TensorFlow runs ACT for one step more than its limit, with
no step embedding there; this runs the limit. It names a sinusoidal step signal and
position signals that are never applied; they are not here. Its ACT has no ponder loss,
Tensor2Tensor adds `ponder_weight` times the mean of N + R, as does this, over positions
that are not padding. Pooled halting takes no later position in the decoder (see
`halting.Halting`).

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
        norm: full layer norms, as Mesh TensorFlow has them here.
        recurrence: "basic", "highway" or "act".
        step_embedding: add a learned embedding of the step before each recurrence.
        num_inrecurrence_layers: passes through the block a recurrence.
        vanilla_before: run the block without step embeddings before the recurrences.
        vanilla_after: likewise after them.
        num_vanilla_layers: such layers, each time.
        share_vanilla_layers: they are the block itself, as in Mesh TensorFlow; else
            layers with weights of their own.
        highway_inputs: what highway gates see, some of the letters "s" (state), "t"
            (transformed) and "i" (input of the first recurrence).
        couple_gates: the highway's carry gate is 1 - its transform gate.
        act_type: one of `halting.TYPES`; "accumulated" is Graves' mean of states.
        act_epsilon: a position halts once its probabilities exceed 1 - this.
        halting_bias_init: of the halting unit.
        ponder_weight: of the mean of steps and remainder in the loss.
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
        self._check_choice("recurrence", RECURRENCES)
        self._check_choice("act_type", halting.TYPES)
        letters = set(self.highway_inputs)
        if (
            not letters
            or letters - set("sti")
            or len(letters) < len(self.highway_inputs)
        ):
            raise config_lib.ConfigError(
                'highway_inputs: accepted: some of "s", "t" and "i", each once; got '
                f"{self.highway_inputs!r}"
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
                f'ponder_weight: {self.ponder_weight} needs recurrence "act", got '
                f"{self.recurrence!r}"
            )


def make_network(config: Config) -> seq2seq.Network:
    """Makes the modules, inside `hk.transform`."""
    run_stack = functools.partial(recurrence.run_stack, causal=False)
    encoder = transformer.make_encoder(config, run_stack=run_stack)
    run_stack = functools.partial(recurrence.run_stack, causal=True)
    decoder = transformer.make_decoder(config, run_stack=run_stack)
    return encoder_decoder.make_network(config, encoder, decoder)


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Closed form of the number of parameters."""
    d_model = config.d_model
    blocks = 1
    if not config.share_vanilla_layers:
        blocks += _num_vanilla(config)
    beside = 0  # Of both stacks.
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
    """Closed form of the forward pass's multiply-adds, one example.

    Those of a Transformer with as many layers as there are passes, and of the gates or
    the halting unit.
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
    beside = 0  # A position and recurrence.
    if config.recurrence == "highway":
        beside = _gate_products(config) * config.d_model**2
    if config.recurrence == "act" and config.act_type != "random":
        beside = config.d_model
    return dataclasses.replace(macs, body=macs.body + positions * beside)


def _num_vanilla(config: Config) -> int:
    """Vanilla layers of a stack."""
    return (config.vanilla_before + config.vanilla_after) * config.num_vanilla_layers


def _num_gates(config: Config) -> int:
    return 1 if config.couple_gates else 2


def _gate_products(config: Config) -> int:
    """Matrices [d, d] that the gates of one stack are made of."""
    return _num_gates(config) * len(config.highway_inputs)


ARCHITECTURE = architecture.Architecture(
    Config,
    make_network,
    param_counts,
    forward_macs,
    family="shared layers",
    mark="^",
)
