"""Tests against Hugging Face's Vision Transformer, on random weights.

It is set to the tanh form of GELU and an epsilon of 1e-6. `make setup-peer` brings the
library.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer import models

torch = pytest.importorskip("torch", reason="needs make setup-peer")
transformers = pytest.importorskip("transformers", reason="needs make setup-peer")

_CLASSES, _PATCH = 7, 4
_SIZES = {"image_height": 12, "image_width": 20}


def _peer():
    """Returns the library's model with all weights drawn anew."""
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=3,
        intermediate_size=40,
        hidden_act="gelu_pytorch_tanh",
        layer_norm_eps=1e-6,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        image_size=(12, 20),
        patch_size=_PATCH,
        num_labels=_CLASSES,
        attn_implementation="eager",
    )
    peer = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.copy_(
                0.2 * torch.randn_like(parameter) + (parameter == 1).float()
            )
    return peer


def _ours(tensors, pooling):
    """Returns parameters of our model from the library's tensors by name."""
    own = {}

    def put(module, **leaves):
        own[module] = {name: np.asarray(leaf) for name, leaf in leaves.items()}

    def norm(name):
        return {"scale": tensors[f"{name}.weight"], "offset": tensors[f"{name}.bias"]}

    def dense(ours, name):
        weight = tensors[f"{name}.weight"].T
        return {ours: weight, f"{ours}_bias": tensors[f"{name}.bias"]}

    place = "vit.embeddings"
    kernel = tensors[f"{place}.patch_embeddings.projection.weight"]  # [d, c, p, p]
    positions = tensors[f"{place}.position_embeddings"][0]
    embedding = {
        "kernel": kernel.transpose(2, 3, 1, 0).reshape(-1, kernel.shape[0]),
        "bias": tensors[f"{place}.patch_embeddings.projection.bias"],
        "positions": positions if pooling == "token" else positions[1:],
    }
    if pooling == "token":
        embedding["token"] = tensors[f"{place}.cls_token"][0]
    put("embedding", **embedding)
    layers = sorted(
        {name.partition(".attention.")[0] for name in tensors if ".attention." in name},
        key=lambda name: int(name.rpartition(".")[2]),
    )
    for index, layer in enumerate(layers):
        own_layer = f"encoder/layer_{index}"
        names = {name.removeprefix(f"{layer}."): name for name in tensors}

        def find(*endings, names=names, layer=layer):
            (found,) = (
                name.rpartition(".")[0]
                for short, name in names.items()
                if name.startswith(layer) and short in endings
            )
            return found

        attention = {}
        for ours, endings in (
            ("query", ("attention.attention.query.weight", "attention.q_proj.weight")),
            ("key", ("attention.attention.key.weight", "attention.k_proj.weight")),
            ("value", ("attention.attention.value.weight", "attention.v_proj.weight")),
            ("output", ("attention.output.dense.weight", "attention.o_proj.weight")),
        ):
            attention |= dense(ours, find(*endings))
        put(f"{own_layer}/self_attention", **attention)
        put(f"{own_layer}/self_attention_norm", **norm(find("layernorm_before.weight")))
        put(f"{own_layer}/feed_forward_norm", **norm(find("layernorm_after.weight")))
        put(
            f"{own_layer}/feed_forward",
            **dense("wi", find("intermediate.dense.weight", "mlp.fc1.weight")),
            **dense("wo", find("output.dense.weight", "mlp.fc2.weight")),
        )
    put("encoder/final_norm", **norm("vit.layernorm"))
    put(
        "head",
        kernel=tensors["classifier.weight"].T,
        bias=tensors["classifier.bias"],
    )
    return jax.tree.map(jnp.asarray, own)


def _numpy(named):
    return {name: value.detach().numpy().copy() for name, value in named}


def _logits(peer, images, pooling):
    """Returns the library's logits; without the token for the mean."""
    if pooling == "token":
        return peer(pixel_values=images).logits
    embeddings = peer.vit.embeddings
    x = embeddings.patch_embeddings(images) + embeddings.position_embeddings[:, 1:]
    encoder = getattr(peer.vit, "encoder", None)
    for layer in encoder.layer if encoder is not None else peer.vit.layers:
        x = layer(x)
        x = x[0] if isinstance(x, tuple) else x
    return peer.classifier(peer.vit.layernorm(x).mean(1))


@pytest.mark.parametrize("pooling", ["token", "mean"])
def test_logits_loss_and_gradients(pooling):
    peer = _peer()
    model = models.build(
        "vit-NL3-DM24-NH3-KV8-FF40-S",
        patch_size=_PATCH,
        num_classes=_CLASSES,
        pooling=pooling,
        **_SIZES,
    )
    params = _ours(_numpy(peer.named_parameters()), pooling)
    assert jax.tree.map(np.shape, params) == jax.tree.map(
        np.shape, model.init(jax.random.key(0))
    )
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (5, 12, 20, 3), np.uint8)
    labels = rng.integers(0, _CLASSES, 5).astype(np.int32)
    batch = models.image_batch.make(pixels, labels)
    images = torch.tensor(pixels.transpose(0, 3, 1, 2) / np.float32(127.5) - 1)

    expected = _logits(peer, images, pooling)
    # Float32 through three layers.
    np.testing.assert_allclose(
        model.apply(params, models.image_batch.pixels(batch)),
        expected.detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )
    loss = torch.nn.functional.cross_entropy(
        expected, torch.tensor(labels, dtype=torch.long), reduction="sum"
    )
    loss.backward()
    own_loss, own_gradients = jax.value_and_grad(
        lambda params: model.loss(params, batch).sums.loss_sum
    )(params)
    assert float(own_loss) == pytest.approx(loss.item(), rel=1e-5)
    gradients = {
        name: np.zeros(value.shape, np.float32)
        if value.grad is None
        else value.grad.numpy()
        for name, value in peer.named_parameters()
    }
    expected = _ours(gradients, pooling)
    # Rounding of the largest; the key's biases have no gradient, as they move all
    # logits of a query alike.
    atol = 1e-6 * max(
        float(jnp.max(jnp.abs(leaf))) for leaf in jax.tree.leaves(expected)
    )
    for module, leaves in own_gradients.items():
        for name, gradient in leaves.items():
            np.testing.assert_allclose(
                gradient,
                expected[module][name],
                rtol=1e-3,
                atol=atol,
                err_msg=f"{module}/{name}",
            )
