"""The vanilla Transformer: T5 1.0, the reference of every other architecture.

Spec §1; Raffel et al. 2020 as trained with Mesh TensorFlow. Pre-norm encoder-decoder
with RMS norms, relative position buckets, no biases and tied logits.

Shapes: B batch, T decoder length, S encoder length, d model width, H heads, G key-value
heads, k width of a head, V vocabulary, L layers.
"""

from typing import Any
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.kernels.relative_attention import NUM_BUCKETS
from clinometer.models import attention
from clinometer.models import closed_form
from clinometer.models import config as config_lib
from clinometer.models import embedding
from clinometer.models import feed_forward
from clinometer.models import keys
from clinometer.models import residual
from clinometer.models import seq2seq
from clinometer.models import stack

Config = config_lib.TransformerConfig
KeyValue = tuple[jax.Array, jax.Array]  # [B, S, G, k] each


def make_network(config: Config) -> seq2seq.Network:
    """Makes the modules of a Transformer, inside `hk.transform`."""
    embedder = embedding.TokenEmbedding(
        config.vocab_size, config.d_model, name="token_embedding"
    )
    encoder = Encoder(config, name="encoder")
    decoder = Decoder(config, name="decoder")
    head = embedding.Logits(config.vocab_size, name="logits")

    def logits(h: jax.Array) -> jax.Array:
        return head(h, embedder.table() if config.tie_embeddings else None)

    def encode(
        tokens: jax.Array, segments: jax.Array, dropout_key: jax.Array | None
    ) -> seq2seq.Encoded:
        x = embedder(tokens, config.compute_dtype)
        return seq2seq.Encoded(encoder(x, segments, dropout_key), segments)

    def decode(
        encoded: seq2seq.Encoded,
        tokens: jax.Array,
        segments: jax.Array,
        dropout_key: jax.Array | None,
    ) -> jax.Array:
        x = embedder(tokens, config.compute_dtype)
        return logits(decoder(x, segments, encoded, dropout_key))

    def decode_step(
        cache: seq2seq.Cache, tokens: jax.Array
    ) -> tuple[jax.Array, seq2seq.Cache]:
        h, cache = decoder.step(embedder(tokens[:, None], config.compute_dtype), cache)
        return logits(h)[:, 0], cache

    return seq2seq.Network(encode, decode, decoder.init_cache, decode_step)


class Memory(NamedTuple):
    """What cross-attention of one layer sees of the encoder.

    Attributes:
        key: [B, S, G, k].
        value: [B, S, G, k].
        segments: [B, S].
    """

    key: jax.Array
    value: jax.Array
    segments: jax.Array


class Encoder(hk.Module):
    """Layers of self-attention and feed-forward under one relative bias."""

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: jax.Array,  # [B, S, d]
        segments: jax.Array,  # [B, S]
        dropout_key: jax.Array | None,
    ) -> jax.Array:  # [B, S, d]
        """Encodes embedded tokens."""
        config = self.config
        bias_table = attention.RelativeBias(config.num_heads, "relative_bias")()

        def make_layer(name: str) -> stack.LayerFunction:
            layer = EncoderLayer(config, name=name)

            def apply(x: jax.Array, index: jax.Array, _: None) -> Any:
                key = keys.fold(dropout_key, "layer", index)
                return layer(x, segments, bias_table, key), None

            return apply

        x, _ = residual.run_stack(
            config, make_layer, config.num_encoder_layers, x, segments, dropout_key
        )
        return x


class EncoderLayer(hk.Module):
    """Self-attention, then feed-forward."""

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: jax.Array,  # [B, S, d]
        segments: jax.Array,  # [B, S]
        bias_table: jax.Array,  # [H, num_buckets]
        dropout_key: jax.Array | None,
    ) -> jax.Array:  # [B, S, d]
        """Applies both sublayers."""
        config = self.config
        self_attention = make_attention(config, "self_attention")

        def attend(y: jax.Array, key: jax.Array | None) -> jax.Array:
            return self_attention(
                y, None, bias_table, segments, segments, dropout_key=key
            )

        x = residual.sublayer(
            config, x, segments, "self_attention", attend, dropout_key
        )
        return residual.sublayer(
            config, x, segments, "feed_forward", make_feed_forward(config), dropout_key
        )


class Decoder(hk.Module):
    """Layers of causal self-attention, cross-attention and feed-forward."""

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        segments: jax.Array,  # [B, T]
        encoded: seq2seq.Encoded,
        dropout_key: jax.Array | None,
    ) -> jax.Array:  # [B, T, d]
        """Runs under teacher forcing."""
        config = self.config
        bias_table = self._bias_table()

        def make_layer(name: str) -> stack.LayerFunction:
            layer = DecoderLayer(config, name=name)

            def apply(x: jax.Array, index: jax.Array, _: None) -> Any:
                key = keys.fold(dropout_key, "layer", index)
                cross = layer.cross_key_value(encoded.memory)
                memory = Memory(*cross, encoded.segments)
                return layer(x, segments, memory, bias_table, key)[0], None

            return apply

        x, _ = residual.run_stack(
            config, make_layer, config.num_decoder_layers, x, segments, dropout_key
        )
        return x

    @hk.name_like("__call__")
    def init_cache(
        self, encoded: seq2seq.Encoded, max_decode_length: int
    ) -> seq2seq.Cache:
        """Returns keys and values of `encoded`, and room for those of the decoder.

        `self` holds [L, B, max_decode_length, G, k], `cross` [L, B, S, G, k], keys
        and values each; `index` counts the tokens fed so far.
        """
        config = self.config

        def make_layer(name: str) -> stack.LayerFunction:
            layer = DecoderLayer(config, name=name)
            return lambda x, index, _: (x, layer.cross_key_value(x))

        _, cross = stack.run_layers(
            make_layer,
            config.num_decoder_layers,
            encoded.memory,
            scan=config.scan_layers,
        )
        batch_size = encoded.memory.shape[0]
        room = jnp.zeros(
            (config.num_decoder_layers, batch_size, max_decode_length)
            + (config.kv_heads, config.d_kv),
            config.compute_dtype,
        )
        return {
            "self": (room, room),
            "cross": cross,
            "segments": encoded.segments,
            "index": jnp.zeros((), jnp.int32),
        }

    @hk.name_like("__call__")
    def step(
        self, x: jax.Array, cache: seq2seq.Cache
    ) -> tuple[jax.Array, seq2seq.Cache]:
        """Decodes one position: x [B, 1, d] -> h [B, 1, d] and the next state."""
        config = self.config
        index = cache["index"]
        bias_table = self._bias_table()
        segments = jnp.ones((x.shape[0], 1), jnp.int32)

        def make_layer(name: str) -> stack.LayerFunction:
            layer = DecoderLayer(config, name=name)

            def apply(x: jax.Array, _: jax.Array, inputs: Any) -> Any:
                past, cross = inputs
                memory = Memory(*cross, cache["segments"])
                return layer(x, segments, memory, bias_table, None, past, index)

            return apply

        x, present = residual.run_stack(
            config,
            make_layer,
            config.num_decoder_layers,
            x,
            segments,
            per_layer_inputs=(cache["self"], cache["cross"]),
        )
        return x, {**cache, "self": present, "index": index + 1}

    @hk.name_like("__call__")
    def _bias_table(self) -> jax.Array:
        return attention.RelativeBias(self.config.num_heads, "relative_bias")()


class DecoderLayer(hk.Module):
    """Causal self-attention, cross-attention, then feed-forward."""

    def __init__(self, config: Config, name: str | None = None):
        super().__init__(name=name)
        self.config = config

    @hk.name_like("__call__")
    def cross_key_value(self, memory: jax.Array) -> KeyValue:
        """Projects the encoder's output [B, S, d] for cross-attention."""
        return make_attention(self.config, "cross_attention").key_value(memory)

    def __call__(
        self,
        x: jax.Array,  # [B, T, d]
        segments: jax.Array,  # [B, T]
        memory: Memory,
        bias_table: jax.Array,  # [H, num_buckets]
        dropout_key: jax.Array | None,
        past: KeyValue | None = None,  # cached keys and values, when T is 1
        index: jax.Array | None = None,  # position of x in the cache
    ) -> tuple[jax.Array, KeyValue]:
        """Returns x and the keys and values that self-attention saw."""
        config = self.config
        self_attention = make_attention(config, "self_attention", causal=True)
        cross_attention = make_attention(config, "cross_attention")
        present: KeyValue = ()

        def attend(y: jax.Array, key: jax.Array | None) -> jax.Array:
            nonlocal present
            present = self_attention.key_value(y)
            if past is None:
                return self_attention(
                    y, present, bias_table, segments, segments, dropout_key=key
                )
            present = tuple(
                jax.lax.dynamic_update_slice_in_dim(old, new, index, axis=1)
                for old, new in zip(past, present, strict=True)
            )
            return self_attention(y, present, bias_table, query_offset=index)

        def cross_attend(y: jax.Array, key: jax.Array | None) -> jax.Array:
            return cross_attention(
                y,
                (memory.key, memory.value),
                None,
                segments,
                memory.segments,
                dropout_key=key,
            )

        for name, function in (
            ("self_attention", attend),
            ("cross_attention", cross_attend),
            ("feed_forward", make_feed_forward(config)),
        ):
            x = residual.sublayer(config, x, segments, name, function, dropout_key)
        return x, present


def make_attention(
    config: Config, name: str, causal: bool = False
) -> attention.RelativeAttention:
    """Returns the attention module of one sublayer."""
    return attention.RelativeAttention(
        config.num_heads,
        config.d_kv,
        config.kv_heads,
        config.shared_kv,
        causal,
        config.dropout_rate,
        config.broadcast_dropout,
        config.implementation,
        name=name,
    )


def make_feed_forward(config: Config) -> feed_forward.FeedForward:
    """Returns the feed-forward module of one layer."""
    return feed_forward.FeedForward(
        config.d_ff,
        config.ffn_activation,
        config.dropout_rate,
        config.broadcast_dropout,
        name="feed_forward",
    )


def param_counts(config: Config) -> closed_form.ParamCounts:
    """Closed form of the number of parameters (spec §1.8)."""
    embedding_count = closed_form.embedding_params(config)
    attention_count = closed_form.attention_params(config)
    feed_forward_count = closed_form.feed_forward_params(config)
    encoder = attention_count + feed_forward_count + 2 * config.d_model
    decoder = 2 * attention_count + feed_forward_count + 3 * config.d_model
    total = (
        embedding_count
        + config.num_encoder_layers * encoder
        + config.num_decoder_layers * decoder
        + 2 * config.d_model
        + 2 * NUM_BUCKETS * config.num_heads
    )
    return closed_form.ParamCounts(total, embedding_count, active=total)


def forward_macs(
    config: Config, encoder_length: int, decoder_length: int
) -> closed_form.Macs:
    """Closed form of the forward pass's multiply-adds, one example (spec §0.1)."""
    encoder = closed_form.attention_macs(
        config, encoder_length, encoder_length
    ) + closed_form.feed_forward_macs(config, encoder_length)
    decoder = (
        closed_form.attention_macs(config, decoder_length, decoder_length)
        + closed_form.attention_macs(config, decoder_length, encoder_length)
        + closed_form.feed_forward_macs(config, decoder_length)
    )
    body = config.num_encoder_layers * encoder + config.num_decoder_layers * decoder
    return closed_form.Macs(body, closed_form.logits_macs(config, decoder_length))
