"""Models of Hugging Face, with random weights made on the spot.

These tests run in the environment of `make setup-peer`; without it they are skipped.
"""

import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs `make setup-peer`")
transformers = pytest.importorskip("transformers", reason="needs `make setup-peer`")

SMALL = {
    "vocab_size": 192,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 3,
    "dropout_rate": 0.0,
    "decoder_start_token_id": 0,
    "attn_implementation": "eager",
}


def draw(model):
    """Gives all weights of a model values that matter; norms are near 1."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            is_norm = name.endswith("layer_norm.weight")
            weight.copy_(1 + 0.1 * noise if is_norm else 0.3 * noise)
    return model.eval()


def t5(**config):
    """Returns a T5 with random weights."""
    torch.set_num_threads(1)
    options = transformers.T5Config(**{**SMALL, **config})
    return draw(transformers.T5ForConditionalGeneration(options))


def untied(model):
    """Returns a model with a head of its own, as released checkpoints have it."""
    head = torch.randn(model.lm_head.weight.shape, generator=torch.Generator())
    model.lm_head.weight = torch.nn.Parameter(0.3 * head)
    return model


def switch(**config):
    """Returns a Switch Transformer with random weights."""
    torch.set_num_threads(1)
    sparse = {
        "num_layers": 4,
        "num_decoder_layers": 2,
        "num_sparse_encoder_layers": 2,
        "num_sparse_decoder_layers": 1,
        "num_experts": 3,
        "expert_capacity": 4,
    }
    options = transformers.SwitchTransformersConfig(**{**SMALL, **sparse, **config})
    return draw(transformers.SwitchTransformersForConditionalGeneration(options))


def save(model, folder: pathlib.Path, spiece: bytes) -> pathlib.Path:
    """Writes a model with `transformers` and returns the folder."""
    model.save_pretrained(folder)
    (folder / "spiece.model").write_bytes(spiece)
    return folder


def tokens() -> tuple[np.ndarray, np.ndarray]:
    """Returns inputs [3, 13], two of them padded, and decoder inputs [3, 7]."""
    rng = np.random.default_rng(3)
    inputs = rng.integers(3, 160, size=(3, 13))
    inputs[1, 9:], inputs[2, 1:] = 0, 0
    decoder = rng.integers(3, 160, size=(3, 7))
    decoder[:, 0] = 0
    return inputs, decoder


def logits(model) -> np.ndarray:
    """Returns the logits of `tokens`, [3, 7, V]."""
    inputs, decoder = map(torch.tensor, tokens())
    with torch.no_grad():
        return model(
            input_ids=inputs,
            attention_mask=(inputs != 0).long(),
            decoder_input_ids=decoder,
        ).logits.numpy()
