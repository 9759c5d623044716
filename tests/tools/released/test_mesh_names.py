"""Names of Mesh-TensorFlow, against names written out here."""

import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools.released import mesh_names
from clinometer.tools.released.readers import tensor

# As T5's release has them -> PyTorch's name, whether the axes are in reverse order.
NAMES = {
    "shared/embedding": ("shared.weight", False),
    "encoder/embedding": ("encoder.embed_tokens.weight", False),
    "decoder/logits/kernel": ("lm_head.weight", True),
    "encoder/block_000/layer_000/SelfAttention/relative_attention_bias": (
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        True,
    ),
    "encoder/block_010/layer_000/SelfAttention/k": (
        "encoder.block.10.layer.0.SelfAttention.k.weight",
        True,
    ),
    "encoder/block_001/layer_001/DenseReluDense/wi_0/kernel": (
        "encoder.block.1.layer.1.DenseReluDense.wi_0.weight",
        True,
    ),
    "decoder/block_002/layer_001/EncDecAttention/o": (
        "decoder.block.2.layer.1.EncDecAttention.o.weight",
        True,
    ),
    "decoder/block_002/layer_002/layer_norm/scale": (
        "decoder.block.2.layer.2.layer_norm.weight",
        False,
    ),
    "decoder/final_layer_norm/scale": ("decoder.final_layer_norm.weight", False),
}


def variable(shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return tensor.Tensor(shape, "float32", lambda: values)


@pytest.mark.parametrize("name", NAMES)
def test_names_and_orientation(name):
    wanted, reverse = NAMES[name]
    shape = (3,) if name.endswith("scale") else (3, 4)
    ((found, made),) = mesh_names.to_hub({name: variable(shape)}).items()
    assert found == wanted
    assert made.shape == (shape[::-1] if reverse else shape)
    read = variable(shape).read()
    np.testing.assert_array_equal(made.read(), read.T if reverse else read)
    assert mesh_names.from_hub(found, made.shape) == (name, shape)


@pytest.mark.parametrize("activation", ["relu", "gated-gelu"])
def test_every_tensor_of_t5_has_a_name(activation):
    """There and back, with no two of the same name."""
    shapes = hub.shapes({**hub.T5, "feed_forward_proj": activation})
    stored = {name: mesh_names.from_hub(name, shape) for name, shape in shapes.items()}
    variables = {name: variable(shape) for name, shape in stored.values()}
    assert len(variables) == len(shapes)
    back = mesh_names.to_hub(variables)
    assert {name: made.shape for name, made in back.items()} == shapes


def test_slots_are_left_out_and_other_names_kept():
    names = ("shared/embedding_slot_vr", "encoder/block_000/layer_000/MoE1D/gate")
    made = mesh_names.to_hub({name: variable((2, 3)) for name in names})
    assert list(made) == [names[1]]
    assert mesh_names.from_hub(names[1], (2, 3)) == (names[1], (2, 3))


def test_two_names_of_one_tensor():
    place = "encoder/block_000/layer_000"
    names = [f"{place}/{norm}/scale" for norm in ("layer_norm", "rms_norm")]
    made = mesh_names.to_hub({name: variable((3,)) for name in names})
    assert list(made) == ["encoder.block.0.layer.0.layer_norm.weight", names[1]]


def test_one_head_of_keys_serves_all():
    place = "encoder/block_000/layer_000/SelfAttention"
    made = mesh_names.to_hub(
        {f"{place}/k": variable((5, 2)), f"{place}/q": variable((5, 6))}, repeats=3
    )
    key = made["encoder.block.0.layer.0.SelfAttention.k.weight"]
    assert key.shape == key.read().shape == (6, 5)
    for head in np.split(key.read(), 3):
        np.testing.assert_array_equal(head, variable((5, 2)).read().T)
    name = "encoder.block.0.layer.0.SelfAttention.k.weight"
    assert mesh_names.from_hub(name, (6, 5), repeats=3) == (f"{place}/k", (5, 2))
    assert mesh_names.from_hub(name, (6, 5), shared_kv=True)[0] == f"{place}/kv"
