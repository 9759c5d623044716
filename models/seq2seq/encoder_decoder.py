"""The encoder, the decoder and their network, which all architectures build on.

Shapes: B batch, T decoder length, S encoder length, d model width, H heads, V
vocabulary, L layers.
"""

from collections.abc import Callable
from typing import Any
from typing import Protocol

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.constraint import constrain
from clinometer.models import config as config_lib
from clinometer.models import keys
from clinometer.models.layers import attention
from clinometer.models.layers import embedding
from clinometer.models.layers import layer as layer_lib
from clinometer.models.layers import residual
from clinometer.models.layers import stack
from clinometer.models.layers import sublayers
from clinometer.models.seq2seq import model as seq2seq

Config = config_lib.TransformerConfig
MakeLayer = Callable[[str], layer_lib.Layer]
# (position of the first token, length T) -> float32 [T, d]
Positions = Callable[[jax.Array | int, int], jax.Array]


class RunStack(Protocol):
    """Runs layers from embedded tokens to the final norm; see `residual.run_stack`."""

    def __call__(
        self,
        config: Any,
        make_layer: Callable[[str], stack.LayerFunction],
        num_layers: int,
        x: jax.Array,
        segments: jax.Array,
        dropout_key: jax.Array | None = None,
        per_layer_inputs: stack.Tree = None,
    ) -> tuple[jax.Array, stack.Tree, sublayers.Extras]:
        """Returns x, the layers' stacked outputs, and extras of the stack itself."""


class _Stack(hk.Module):
    """Base class of encoder and decoder.

    Args:
        config: config of the architecture.
        make_sublayers: creates the sublayers of a layer; see `layer.MakeSublayers`.
        num_layers: number of layers; None for that of the config.
        make_bias: creates `SublayerContext.bias`; None for the stack's own relative
            bias table [H, num_buckets].
        make_layer: creates the layer of a given name; None for the stack's own layers.
        run_stack: runs the layers.
    """

    layers_field: str  # The config field with the number of layers.

    def __init__(
        self,
        config: Config,
        make_sublayers: layer_lib.MakeSublayers,
        *,
        num_layers: int | None = None,
        make_bias: Callable[[], Any] | None = None,
        make_layer: MakeLayer | None = None,
        run_stack: RunStack = residual.run_stack,
        name: str | None = None,
    ):
        super().__init__(name=name)
        self.config = config
        self.make_sublayers = make_sublayers
        self.num_layers = num_layers or getattr(config, self.layers_field)
        self.make_layer = make_layer or (lambda name: layer_lib.Layer(config, name))
        self.make_bias = make_bias or relative_bias(config)
        self.run_stack = run_stack

    @hk.name_like("__call__")
    def _run(
        self,
        x: jax.Array,
        context: sublayers.SublayerContext,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """Runs on whole sequences; health has a leading axis of layers."""

        def make_layer(name: str) -> stack.LayerFunction:
            layer = self.make_layer(name)

            def apply(x: jax.Array, index: jax.Array, _: None) -> Any:
                key = keys.fold(dropout_key, "layer", index)
                return layer(self.make_sublayers, x, context, key)

            return apply

        x, layers, extras = self.run_stack(
            self.config, make_layer, self.num_layers, x, context.segments, dropout_key
        )
        loss = jnp.sum(layers.loss) + extras.loss
        return x, sublayers.Extras(loss, {**layers.health, **extras.health})


class Encoder(_Stack):
    """The encoder stack; see `_Stack` for its arguments."""

    layers_field = "num_encoder_layers"

    def __call__(
        self,
        x: jax.Array,  # [B, S, d]
        segments: jax.Array,  # [B, S]
        mode: seq2seq.ForwardOptions,
    ) -> tuple[seq2seq.Encoded, sublayers.Extras]:
        """Encodes embedded tokens.

        Args:
            x: embedded tokens [B, S, d].
            segments: int [B, S], 0 at padding.
            mode: options of the forward pass.

        Returns:
            The encoded input, and extras.
        """
        context = sublayers.SublayerContext(
            segments, self.make_bias(), collect_health=mode.collect_health
        )
        x, extras = self._run(x, context, mode.dropout_key)
        return seq2seq.Encoded(x, segments), extras


class Decoder(_Stack):
    """The decoder stack; see `_Stack` for its arguments."""

    layers_field = "num_decoder_layers"

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        segments: jax.Array,  # [B, T]
        encoded: seq2seq.Encoded,
        mode: seq2seq.ForwardOptions,
    ) -> tuple[jax.Array, sublayers.Extras]:
        """Runs under teacher forcing.

        Args:
            x: embedded tokens [B, T, d].
            segments: int [B, T], 0 at padding.
            encoded: output of the encoder.
            mode: options of the forward pass.

        Returns:
            h [B, T, d], and extras.
        """
        context = sublayers.SublayerContext(
            segments,
            self.make_bias(),
            encoded.memory,
            encoded.segments,
            collect_health=mode.collect_health,
        )
        return self._run(x, context, mode.dropout_key)

    @hk.name_like("__call__")
    def init_cache(
        self, encoded: seq2seq.Encoded, max_decode_length: int
    ) -> seq2seq.Cache:
        """Returns the initial state of all layers.

        Args:
            encoded: output of the encoder.
            max_decode_length: maximum number of steps.

        Returns:
            A dictionary with "layers", which holds {sublayer: state} with leaves [L, B,
            ...]; "segments", those of the encoder; and "index", the number of steps so
            far.
        """
        batch_size, _, d_model = encoded.memory.shape
        segments = jnp.ones((batch_size, 1), jnp.int32)
        context = sublayers.SublayerContext(segments, None, *encoded)

        def make_layer(name: str) -> stack.LayerFunction:
            layer = self.make_layer(name)

            def apply(x: jax.Array, *_: Any) -> Any:
                states = layer.init_state(
                    self.make_sublayers, context, max_decode_length
                )
                return x, states

            return apply

        x = jnp.zeros((batch_size, 1, d_model), self.config.compute_dtype)
        _, states, _ = self.run_stack(
            self.config, make_layer, self.num_layers, x, segments
        )
        return {
            "layers": states,
            "segments": encoded.segments,
            "index": jnp.zeros((), jnp.int32),
        }

    @hk.name_like("__call__")
    def step(
        self, x: jax.Array, cache: seq2seq.Cache
    ) -> tuple[jax.Array, seq2seq.Cache]:
        """Decodes one position x [B, 1, d]; returns h [B, 1, d] and the next state."""
        segments = jnp.ones((x.shape[0], 1), jnp.int32)
        context = sublayers.SublayerContext(
            segments,
            self.make_bias(),
            memory_segments=cache["segments"],
            index=cache["index"],
        )

        def make_layer(name: str) -> stack.LayerFunction:
            layer = self.make_layer(name)

            def apply(x: jax.Array, _: jax.Array, state: Any) -> Any:
                return layer.step(self.make_sublayers, x, state, context)

            return apply

        x, states, _ = self.run_stack(
            self.config,
            make_layer,
            self.num_layers,
            x,
            segments,
            per_layer_inputs=cache["layers"],
        )
        return x, {**cache, "layers": states, "index": cache["index"] + 1}


def relative_bias(config: Config, num_heads: int | None = None) -> Callable[[], Any]:
    """Returns a function that creates a stack's relative bias table.

    Args:
        config: config of the architecture.
        num_heads: number of heads; None for that of the config.
    """
    heads = num_heads or config.num_heads
    return lambda: attention.RelativeBias(heads, "relative_bias")()


def no_bias() -> None:
    """Returns None, as `make_bias` of stacks without a relative bias."""


def make_network(
    config: Config,
    encoder: Encoder,
    decoder: Decoder,
    embed: Callable[[jax.Array, jax.Array | int], jax.Array] | None = None,
    positions: Positions | None = None,
    logits: Callable[[jax.Array], jax.Array] | None = None,
) -> seq2seq.Network:
    """Builds a network; must be called inside `hk.transform`.

    Args:
        config: config of the architecture.
        encoder: an `Encoder`, or a module that is called like one.
        decoder: a `Decoder`, or a module with the same methods.
        embed: (tokens [B, T], position of the first token) -> [B, T, d]; None for T5's
            embedding.
        positions: (position of the first token, T) -> position embeddings to add to
            T5's embedding; None for none.
        logits: h [B, T, d] -> float32 [B, T, V]; None for T5's logits.
    """
    if embed is None or logits is None:
        token_embedding = embedding.TokenEmbedding(
            config.vocab_size, config.d_model, name="token_embedding"
        )
    if embed is None:

        def embed(tokens: jax.Array, start: jax.Array | int) -> jax.Array:
            x = token_embedding(tokens, config.compute_dtype)
            if positions is None:
                return x
            return x + positions(start, tokens.shape[1])[None].astype(x.dtype)

    if logits is None:
        head = embedding.Logits(config.vocab_size, config.scales_logits, name="logits")

        def logits(h: jax.Array) -> jax.Array:
            return head(h, token_embedding.table() if config.tie_embeddings else None)

    def stream(tokens: jax.Array, start: jax.Array | int) -> jax.Array:
        return constrain(embed(tokens, start), residual.STREAM)

    def logits_of(h: jax.Array) -> jax.Array:
        return constrain(logits(h), ("batch", None, "heads"))

    def encode(
        tokens: jax.Array, segments: jax.Array, mode: seq2seq.ForwardOptions
    ) -> tuple[seq2seq.Encoded, sublayers.Extras]:
        return encoder(stream(tokens, 0), segments, mode)

    def decode(
        encoded: seq2seq.Encoded,
        tokens: jax.Array,
        segments: jax.Array,
        mode: seq2seq.ForwardOptions,
    ) -> tuple[jax.Array, sublayers.Extras]:
        h, extras = decoder(stream(tokens, 0), segments, encoded, mode)
        return logits_of(h), extras

    def decode_step(
        cache: seq2seq.Cache, tokens: jax.Array
    ) -> tuple[jax.Array, seq2seq.Cache]:
        h, cache = decoder.step(stream(tokens[:, None], cache["index"]), cache)
        return logits_of(h)[:, 0], cache

    return seq2seq.Network(encode, decode, decoder.init_cache, decode_step)
