"""Makes releases as they are in the bucket of *Scale Efficiently*, with TensorFlow.

Names, layouts and gin's text are written out here; nothing is taken from the code under
test. These tests run in the environment of `make setup-mesh-tf`; without it they are
skipped.
"""

import os
import pathlib
import re

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tf = pytest.importorskip("tensorflow", reason="needs `make setup-mesh-tf`")

NUMBERS = {
    "d_ff": 48,
    "d_kv": 8,
    "d_model": 32,
    "num_heads": 3,
    "num_layers": 1,  # The decoder's; the encoder has 3.
}
# As Mesh-TensorFlow writes it after training, without what no model depends on.
GIN = """\
import mesh_tensorflow.optimize
import mesh_tensorflow.transformer.transformer
import mesh_tensorflow.transformer.transformer_layers
import t5.models.mesh_transformer

# Macros:
# ==============================================================================
{macros}
dropout_rate = 0.1
mean_noise_span_length = 3.0
MIXTURE_NAME = 'c4_v020_unsupervised'

# Parameters for AdafactorOptimizer:
# ==============================================================================
AdafactorOptimizer.decay_rate = None
AdafactorOptimizer.epsilon1 = 1e-30

# Parameters for Bitransformer:
# ==============================================================================
Bitransformer.shared_embedding = True

# Parameters for decoder/EncDecAttention:
# ==============================================================================
decoder/EncDecAttention.relative_attention_type = None
{sides}
# Parameters for encoder/make_layer_stack:
# ==============================================================================
encoder/make_layer_stack.layers = \\
    [@mesh_tensorflow.transformer.transformer_layers.SelfAttention,
     @mesh_tensorflow.transformer.transformer_layers.DenseReluDense]
encoder/make_layer_stack.num_layers = 3

# Parameters for decoder/make_layer_stack:
# ==============================================================================
decoder/make_layer_stack.layers = \\
    [@mesh_tensorflow.transformer.transformer_layers.SelfAttention,
     @mesh_tensorflow.transformer.transformer_layers.EncDecAttention,
     @mesh_tensorflow.transformer.transformer_layers.DenseReluDense]
decoder/make_layer_stack.num_layers = %num_layers

# Parameters for run:
# ==============================================================================
run.batch_size = ('tokens_per_batch', 65536)
run.mesh_shape = @mesh_tensorflow.transformer.utils.tpu_mesh_shape()
run.model_type = 'bitransformer'
run.sequence_length = {{'inputs': 512, 'targets': 114}}

# Parameters for pack_or_pad:
# ==============================================================================
# None.

# Parameters for sublayer_rms_norm:
# ==============================================================================
sublayer_rms_norm.epsilon = 1e-06
sublayer_rms_norm.name = 'rms_norm'
"""
_SIDE = """
# Parameters for {side}/DenseReluDense:
# ==============================================================================
{side}/DenseReluDense.activation = {activation!r}
{side}/DenseReluDense.dropout_rate = %dropout_rate
{side}/DenseReluDense.hidden_size = %d_ff
{side}/DenseReluDense.use_bias = False

# Parameters for {side}/LayerStack:
# ==============================================================================
{side}/LayerStack.norm_epsilon = None
{side}/LayerStack.sublayers_final = \\
    [@transformer.sublayer_rms_norm, @transformer.sublayer_dropout]
{side}/LayerStack.sublayers_initial = [@transformer.sublayer_dropout]
{side}/LayerStack.sublayers_per_layer = \\
    [@transformer.sublayer_rms_norm,
     @transformer.sublayer_call_layer,
     @transformer.sublayer_dropout,
     @transformer.sublayer_residual]

# Parameters for {side}/SelfAttention:
# ==============================================================================
{side}/SelfAttention.attention_kwargs = None
{side}/SelfAttention.combine_dims = True
{side}/SelfAttention.key_value_size = %d_kv
{side}/SelfAttention.num_heads = %num_heads
{side}/SelfAttention.num_memory_heads = {memory_heads}
{side}/SelfAttention.relative_attention_num_buckets = 32
{side}/SelfAttention.relative_attention_type = 'bias_shared'
{side}/SelfAttention.shared_kv = {shared_kv}

# Parameters for {side}/Unitransformer:
# ==============================================================================
{side}/Unitransformer.d_model = %d_model
{side}/Unitransformer.positional_embedding = False
{side}/Unitransformer.shared_embedding_and_softmax_weights = {tied}
{side}/Unitransformer.vocab_divisor = 128
"""


def gin(
    *,
    activation="relu",
    tied: bool = True,
    memory_heads: int = 0,
    shared_kv: bool = False,
) -> str:
    """Returns the text of an `operative_config.gin`."""
    sides = "".join(
        _SIDE.format(
            side=side,
            activation=activation,
            tied=tied,
            memory_heads=memory_heads,
            shared_kv=shared_kv,
        )
        for side in ("decoder", "encoder")
    )
    macros = "\n".join(f"{name} = {number}" for name, number in NUMBERS.items())
    return GIN.format(macros=macros, sides=sides)


def shapes(
    *,
    gated: bool = False,
    tied: bool = True,
    memory_heads: int = 0,
    shared_kv: bool = False,
    norm: str = "layer_norm",
    final_norm: str = "final_layer_norm",
    vocab_size: int = 256,
) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's variables by name."""
    width, inner, hidden = 32, 24, 48
    of_keys = (width, 8 * (memory_heads or 3))
    made = {"shared/embedding": (vocab_size, width)}
    if not tied:
        made["decoder/logits/kernel"] = (width, vocab_size)
    for side, layers in (("encoder", 3), ("decoder", 1)):
        made[f"{side}/{final_norm}/scale"] = (width,)
        attentions = ["SelfAttention"] + ["EncDecAttention"] * (side == "decoder")
        made[f"{side}/block_000/layer_000/SelfAttention/relative_attention_bias"] = (
            3,
            32,
        )
        for block in range(layers):
            place = f"{side}/block_{block:03}"
            for index, name in enumerate(attentions):
                layer = f"{place}/layer_{index:03}"
                made[f"{layer}/{norm}/scale"] = (width,)
                made[f"{layer}/{name}/q"] = (width, inner)
                for letter in ("kv",) if shared_kv else ("k", "v"):
                    made[f"{layer}/{name}/{letter}"] = of_keys
                made[f"{layer}/{name}/o"] = (inner, width)
            layer = f"{place}/layer_{len(attentions):03}"
            made[f"{layer}/{norm}/scale"] = (width,)
            for name in ("wi_0", "wi_1") if gated else ("wi",):
                made[f"{layer}/DenseReluDense/{name}/kernel"] = (width, hidden)
            made[f"{layer}/DenseReluDense/wo/kernel"] = (hidden, width)
    return made


def draw(found: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Draws variables, float32; norms are near 1."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            (1 + 0.1 * rng.normal(size=shape))
            if name.endswith("scale")
            else 0.3 * rng.normal(size=shape)
        ).astype(np.float32)
        for name, shape in found.items()
    }


def slots(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns what Adafactor keeps beside the variables, and the number of steps."""
    made = {"global_step": np.array(7, np.int64)}
    for name, array in variables.items():
        if array.ndim == 1 or min(array.shape) < 32:
            made[f"{name}_slot_v"] = np.ones_like(array)
        else:
            made[f"{name}_slot_vr"] = np.ones(array.shape[0], np.float32)
            made[f"{name}_slot_vc"] = np.ones(array.shape[1], np.float32)
    return made


def save(folder: pathlib.Path, variables: dict[str, np.ndarray], step: int) -> None:
    """Writes `model.ckpt-STEP` with TensorFlow."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(variables)
    tf.raw_ops.SaveV2(
        prefix=str(folder / f"model.ckpt-{step}"),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')


def hub_tensors(variables: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the same weights as PyTorch's tensors on the Hugging Face hub."""
    made = {}
    for name, array in variables.items():
        if name == "shared/embedding":
            made["shared.weight"] = array
            continue
        if name == "decoder/logits/kernel":
            made["lm_head.weight"] = array.T
            continue
        here = re.sub(r"(block|layer)_0*(\d+)/", r"\1.\2/", name)
        here = re.sub(r"/(kernel|scale)$", "", here).replace("/", ".")
        made[f"{here}.weight"] = array.T
    return {name: np.ascontiguousarray(array) for name, array in made.items()}
