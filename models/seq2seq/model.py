"""`EncoderDecoder`, the pure functions of all encoder-decoder models.

Shapes: B batch, S encoder length, T decoder length, d model width, V vocabulary.
"""

from collections.abc import Callable
import dataclasses
from typing import Any
from typing import NamedTuple

import jax
import jax.numpy as jnp

from clinometer.models import keys
from clinometer.models import model as model_lib
from clinometer.models.counting import checked
from clinometer.models.counting import closed_form as closed_form_lib
from clinometer.models.layers import parameters
from clinometer.models.layers import pure
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.models.seq2seq import loss as loss_lib

Params = model_lib.Params
Cache = dict[str, Any]


class ForwardOptions(NamedTuple):
    """Options of a forward pass over whole sequences.

    Attributes:
        dropout_key: random key; None for evaluation.
        collect_health: include diagnostics that are too costly for every step.
    """

    dropout_key: jax.Array | None = None
    collect_health: bool = False


class Outputs(NamedTuple):
    """The outputs of a forward pass.

    Attributes:
        logits: float32 [B, T, V].
        auxiliary_loss: float32 scalar, added to the mean loss per token, such as the
            load-balancing loss or ponder cost; 0 for most architectures.
        health: diagnostics, {"encoder/SUBLAYER/NAME": array}, most of them with a
            leading axis of layers.
    """

    logits: jax.Array
    auxiliary_loss: jax.Array
    health: dict[str, jax.Array]


class Encoded(NamedTuple):
    """The output of the encoder.

    Attributes:
        memory: encoded inputs [B, S', d]; S' is S unless the encoder pools.
        segments: segment ids, int32 [B, S'], 0 at padding.
    """

    memory: jax.Array
    segments: jax.Array


@dataclasses.dataclass(frozen=True)
class Network:
    """The Haiku functions of an architecture, to be used inside `hk.transform`.

    Attributes:
        encode: (tokens [B, S], segments [B, S], mode) -> (Encoded, Extras).
        decode: (encoded, tokens [B, T], segments [B, T], mode) -> (float32 logits
            [B, T, V], Extras).
        init_cache: (encoded, max_decode_length) -> initial state of the decoder.
        decode_step: (cache, tokens [B]) -> (float32 logits [B, V], cache).
        input_length: an input length S that `encode` accepts, used to initialise the
            parameters.
    """

    encode: Callable[..., tuple[Encoded, sublayers.Extras]]
    decode: Callable[..., tuple[jax.Array, sublayers.Extras]]
    init_cache: Callable[..., Cache]
    decode_step: Callable[..., tuple[jax.Array, Cache]]
    input_length: int = 1


class EncoderDecoder:
    """An encoder-decoder as pure functions of a parameter dictionary.

    It implements `models.Model` for texts, with the batches of `batch.py` and shapes
    given as `TextShape`, and adds functions for decoding.

    Parameters are `{module: {name: float32 array}}` with a module name per layer
    (`encoder/layer_0/self_attention`). If `config.scan_layers` is set, all functions
    except `init` take them in the form of `models.stack_params`.

    Attributes:
        name: canonical name, e.g. "transformer-NL16-SM".
        config: the architecture's frozen config.
    """

    def __init__(
        self,
        name: str,
        config: Any,
        make_network: Callable[[Any], Network],
        closed_form: closed_form_lib.ClosedForm,
    ):
        """Transforms the network; allocates nothing.

        Args:
            name: canonical name.
            config: the architecture's frozen config.
            make_network: (config) -> Haiku functions, called inside `hk.transform`.
            closed_form: the cost of the network in closed form.
        """
        self.name = name
        self.config = config
        self._make_network = make_network
        self._closed_form = closed_form
        # Canonical parameters have a name per layer, even if layers are scanned.
        canonical = dataclasses.replace(config, scan_layers=False, remat="none")

        def initialise() -> jax.Array:
            token = jnp.ones([1, 1], jnp.int32)
            network = make_network(canonical)
            inputs = jnp.ones([1, network.input_length], jnp.int32)
            encoded, _ = network.encode(inputs, inputs, ForwardOptions())
            return network.decode(encoded, token, token, ForwardOptions())

        def forward(
            encoder_tokens: jax.Array,
            encoder_segments: jax.Array,
            decoder_tokens: jax.Array,
            decoder_segments: jax.Array,
            mode: ForwardOptions,
        ) -> Outputs:
            network = make_network(config)

            def mode_of(place: str) -> ForwardOptions:
                return mode._replace(dropout_key=keys.fold(mode.dropout_key, place))

            encoded, encoder_extras = network.encode(
                encoder_tokens, encoder_segments, mode_of("encoder")
            )
            logits, decoder_extras = network.decode(
                encoded, decoder_tokens, decoder_segments, mode_of("decoder")
            )
            health = {
                f"{place}/{name}": value
                for place, extras in (
                    ("encoder", encoder_extras),
                    ("decoder", decoder_extras),
                )
                for name, value in extras.health.items()
            }
            loss = jnp.asarray(encoder_extras.loss + decoder_extras.loss, jnp.float32)
            return Outputs(logits, loss, health)

        self._init = pure.initialiser(initialise)
        self._forward = pure.function(forward)
        self._encode = pure.function(
            lambda *args: make_network(config).encode(*args)[0]
        )
        self._init_cache = pure.function(
            lambda *args: make_network(config).init_cache(*args)
        )
        self._decode_step = pure.function(
            lambda *args: make_network(config).decode_step(*args)
        )

    def init(self, key: jax.Array) -> Params:
        """Initialises parameters; each depends only on `key` and its own name."""
        return self._init(key)

    def param_axes(self) -> dict[str, dict[str, parameters.Axes]]:
        """Returns the axis names of all parameters in canonical form.

        `models.stack_axes` converts them to the stacked form. Nothing is allocated.

        Returns:
            {module: {name: axes}}.

        Raises:
            ValueError: a parameter was created without names; see `parameters.make`.
        """
        return parameters.axes_of(self.init)

    def from_canonical(self, params: Params) -> Params:
        """Converts canonical parameters to the form that all other functions take."""
        return stack.stack_params(params) if self.config.scan_layers else params

    def abstract_batch(
        self, batch_size: int, shape: batch_lib.TextShape
    ) -> dict[str, jax.ShapeDtypeStruct]:
        """Returns the shapes and dtypes of a batch; see `batch.py`."""
        return batch_lib.abstract(batch_size, shape)

    def random_batch(
        self, seed: int, batch_size: int, shape: batch_lib.TextShape
    ) -> dict[str, jax.Array]:
        """Returns a batch of random tokens from the whole vocabulary."""
        return batch_lib.random(seed, batch_size, shape, self.config.vocab_size)

    def loss(
        self,
        params: Params,
        batch: model_lib.Batch,
        key: jax.Array | None = None,
        *,
        z_loss: float = 0.0,
        collect_health: bool = False,
    ) -> model_lib.LossOutputs:
        """Returns the summed losses of a batch; see `models.Model.loss`."""
        inputs, targets = batch_lib.split(batch)
        outputs = self.forward(
            params, **inputs, dropout_key=key, collect_health=collect_health
        )
        sums = loss_lib.cross_entropy(outputs.logits, targets, z_loss)
        return model_lib.LossOutputs(
            sums, targets.size, outputs.auxiliary_loss, outputs.health
        )

    def row_losses(self, params: Params, batch: model_lib.Batch) -> model_lib.Loss:
        """Returns the losses of each row; see `models.Model.row_losses`."""
        inputs, targets = batch_lib.split(batch)
        return loss_lib.row_cross_entropy(
            self.forward(params, **inputs).logits, targets
        )

    def check(self, shape: batch_lib.TextShape) -> None:
        """Raises ConfigError unless the model accepts texts of these lengths."""
        self.count(1, shape, trace=False)

    def check_parts(
        self, batch_size: int, shape: batch_lib.TextShape, parts: int
    ) -> None:
        """Raises ConfigError unless batches divide; see `models.Model.check_parts`."""
        self.config.check_parts(
            batch_size, shape.encoder_length, shape.decoder_length, parts
        )

    def count(
        self,
        batch_size: int,
        shape: batch_lib.TextShape,
        *,
        platform: str = "cpu",
        trace: bool = True,
    ) -> checked.TransformerCounts:
        """Counts parameters, multiply-adds and FLOPs; allocates nothing.

        Args:
            batch_size: number of examples of a batch.
            shape: shape of an example.
            platform: platform of the executed FLOPs, "cpu", "tpu", ...
            trace: trace the model to check the closed forms and to count executed
                FLOPs; without it, counting takes about a millisecond.

        Raises:
            ConfigError: the model has more than `limits.PARAMETERS` parameters or does
                not accept the lengths.
            OptionError: the batch size is out of range.
            CountError: the closed form and the traced program disagree.
        """
        return checked.count(
            self._with_form, self._closed_form, batch_size, shape, platform, trace
        )

    def _with_form(self, **fields: Any) -> "EncoderDecoder":
        """Returns this model with `scan_layers` or `remat` replaced."""
        config = dataclasses.replace(self.config, **fields)
        return EncoderDecoder(self.name, config, self._make_network, self._closed_form)

    def apply(
        self,
        params: Params,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        *,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
    ) -> jax.Array:
        """Returns float32 logits [B, T, V] under teacher forcing; see `forward`."""
        return self.forward(
            params,
            encoder_input_tokens,
            decoder_input_tokens,
            encoder_segment_ids=encoder_segment_ids,
            decoder_segment_ids=decoder_segment_ids,
            dropout_key=dropout_key,
        ).logits

    def forward(
        self,
        params: Params,
        encoder_input_tokens: jax.Array,
        decoder_input_tokens: jax.Array,
        *,
        encoder_segment_ids: jax.Array | None = None,
        decoder_segment_ids: jax.Array | None = None,
        dropout_key: jax.Array | None = None,
        collect_health: bool = False,
    ) -> Outputs:
        """Runs the model under teacher forcing.

        Args:
            params: parameters in the form returned by `from_canonical`.
            encoder_input_tokens: int [B, S]; 0 is padding.
            decoder_input_tokens: int [B, T]; the targets shifted right by one, with the
                start token 0 at position 0.
            encoder_segment_ids: int [B, S], 0 at padding, for several examples in one
                row; None for 1 at every token that is not padding.
            decoder_segment_ids: int [B, T], likewise.
            dropout_key: random key of this step; None for evaluation, without dropout.
            collect_health: include the attention's entropy, on the first example.

        Returns:
            The logits, the auxiliary loss and diagnostics.
        """
        if encoder_segment_ids is None:
            encoder_segment_ids = batch_lib.token_segments(encoder_input_tokens)
        if decoder_segment_ids is None:
            decoder_segment_ids = batch_lib.token_segments(
                decoder_input_tokens, has_start=True
            )
        return self._forward(
            params,
            encoder_input_tokens,
            encoder_segment_ids,
            decoder_input_tokens,
            decoder_segment_ids,
            ForwardOptions(dropout_key, collect_health),
        )

    def encode(self, params: Params, encoder_input_tokens: jax.Array) -> Encoded:
        """Encodes int tokens [B, S] for decoding, without dropout."""
        segments = batch_lib.token_segments(encoder_input_tokens)
        return self._encode(params, encoder_input_tokens, segments, ForwardOptions())

    def init_cache(
        self, params: Params, encoded: Encoded, max_decode_length: int
    ) -> Cache:
        """Returns the initial state of the decoder.

        Args:
            params: parameters in the form returned by `from_canonical`.
            encoded: output of `encode`.
            max_decode_length: maximum number of `decode_step` calls, at least 1.

        Raises:
            ValueError: `max_decode_length` is less than 1.
        """
        if max_decode_length < 1:
            raise ValueError(
                f"init_cache: max_decode_length must be at least 1, got "
                f"{max_decode_length}"
            )
        return self._init_cache(params, encoded, max_decode_length)

    def decode_step(
        self, params: Params, cache: Cache, tokens: jax.Array
    ) -> tuple[jax.Array, Cache]:
        """Decodes one step.

        Args:
            params: parameters in the form returned by `from_canonical`.
            cache: state of the decoder. At most `max_decode_length` steps can follow
                `init_cache`.
            tokens: int [B], the previous tokens; the start token 0 in the first step.

        Returns:
            Logits of the next tokens, float32 [B, V], and the next state.
        """
        return self._decode_step(params, cache, tokens)
