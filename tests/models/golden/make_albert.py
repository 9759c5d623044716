"""Computes golden values of ALBERT with a float64 NumPy implementation.

    PYTHONPATH=tools/imports python tests/models/golden/make_albert.py

Writes one .npz per variant to this folder: logits, mean cross-entropy, and its
derivative with respect to every parameter along a random direction, by central
differences. It does not import the models under test. Weights are one dictionary, and
stacks and depths that share weights read the same entry.
"""

from collections.abc import Mapping
import pathlib

import numpy as np

from clinometer.tests.models.golden import weights

FOLDER = pathlib.Path(__file__).resolve().parent
Arrays = Mapping[str, np.ndarray]

SHAPE = {**weights.SHAPE, "num_decoder_layers": 3, "d_embedding": 6}
# variant -> options of our model
VARIANTS = {
    "albert": {},
    "albert_all_shared": {"share_relative_bias": True, "share_final_norm": True},
}
STEP = 1e-5
# First distances, as ARCHITECTURES.md#transformer-relative-position-bias lists them.
BOTH_WAYS = [*range(8), 8, 12, 16, 23, 32, 46, 64, 91]
ONE_WAY = [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


def shapes(variant: str) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every parameter, under the names of our model."""
    d, f, e = SHAPE["d_model"], SHAPE["d_ff"], SHAPE["d_embedding"]
    inner, buckets = SHAPE["num_heads"] * SHAPE["d_kv"], (SHAPE["num_heads"], 32)
    result = {
        "token_embedding/table": (SHAPE["vocab_size"], e),
        "token_embedding/projection": (e, d),
        "layer/feed_forward/wi": (d, f),
        "layer/feed_forward/wo": (f, d),
    }
    for part in ("self_attention", "cross_attention"):
        for kernel in ("query", "key", "value"):
            result[f"layer/{part}/{kernel}"] = (d, inner)
        result[f"layer/{part}/output"] = (inner, d)
    for part in ("self_attention", "cross_attention", "feed_forward"):
        result[f"layer/{part}_norm/scale"] = (d,)
    options = VARIANTS[variant]
    for stack in ("encoder/", "decoder/"):
        table = "" if "share_relative_bias" in options else stack
        norm = "" if "share_final_norm" in options else stack
        result[f"{table}relative_bias/table"] = buckets
        result[f"{norm}final_norm/scale"] = (d,)
    return result


def batch() -> dict[str, np.ndarray]:
    """Returns padded int tokens: inputs [2, 100], decoder inputs, targets [2, 24]."""
    rng = np.random.default_rng(11)
    inputs = rng.integers(2, SHAPE["vocab_size"], size=(2, 100))
    targets = rng.integers(2, SHAPE["vocab_size"], size=(2, 24))
    inputs[1, 70:], targets[1, 15:] = 0, 0
    shifted = np.pad(targets[:, :-1], ((0, 0), (1, 0)))
    return {"inputs": inputs, "decoder_inputs": shifted, "targets": targets}


def draw(variant: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Draws the weights, and the direction of the derivative for each of them."""
    names = shapes(variant)
    drawn = weights.draw(
        {f"{kind} {name}": shape for kind in "dw" for name, shape in names.items()}
    )
    return tuple({name: drawn[f"{kind} {name}"] for name in names} for kind in "wd")


def logits(parameters: Arrays) -> np.ndarray:
    """Runs the model; returns [B, T, V]."""
    tokens = batch()
    inputs, shifted = tokens["inputs"], tokens["decoder_inputs"]
    segments = (inputs != 0).astype(int)
    own_segments = (shifted != 0).astype(int)
    own_segments[:, 0] = 1
    table = parameters["token_embedding/table"]
    projection = parameters["token_embedding/projection"]
    memory = table[inputs] @ projection
    bias = _bias(parameters, "encoder/", 100, causal=False)
    for _ in range(SHAPE["num_encoder_layers"]):
        memory = _attend(parameters, "self_attention", memory, None, segments, bias)
        memory = _feed_forward(parameters, memory)
    memory = _norm(memory, _either(parameters, "encoder/", "final_norm/scale"))
    h = table[shifted] @ projection
    bias = _bias(parameters, "decoder/", 24, causal=True)
    for _ in range(SHAPE["num_decoder_layers"]):
        h = _attend(parameters, "self_attention", h, None, own_segments, bias)
        h = _attend(parameters, "cross_attention", h, memory, segments, 0.0)
        h = _feed_forward(parameters, h)
    h = _norm(h, _either(parameters, "decoder/", "final_norm/scale"))
    return (h * SHAPE["d_model"] ** -0.5) @ projection.T @ table.T


def loss(parameters: Arrays) -> float:
    """Returns the mean cross-entropy of the targets that are not padding."""
    targets, values = batch()["targets"], logits(parameters)
    values = values - values.max(-1, keepdims=True)
    log_probabilities = values - np.log(np.exp(values).sum(-1, keepdims=True))
    picked = np.take_along_axis(log_probabilities, targets[..., None], -1)[..., 0]
    return float(-picked[targets != 0].mean())


def make(variant: str) -> dict[str, np.ndarray]:
    """Returns the golden values of one variant."""
    drawn, directions = (
        {name: array.astype(np.float64) for name, array in arrays.items()}
        for arrays in draw(variant)
    )
    golden = {"logits": logits(drawn), "loss": np.asarray(loss(drawn))}
    for name, direction in directions.items():
        ends = [
            loss({**drawn, name: drawn[name] + sign * STEP * direction})
            for sign in (1, -1)
        ]
        golden[f"derivative:{name}"] = np.asarray((ends[0] - ends[1]) / (2 * STEP))
    return golden


def _either(parameters: Arrays, stack: str, name: str) -> np.ndarray:
    """Returns the shared array if there is one, else that of the stack."""
    return parameters[name] if name in parameters else parameters[stack + name]


def _norm(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale


def _bias(parameters: Arrays, stack: str, length: int, *, causal: bool) -> np.ndarray:
    """Returns the bias [H, length, length]; if causal, -1e9 at later positions."""
    right = np.arange(length)[None, :] - np.arange(length)[:, None]
    starts = ONE_WAY if causal else BOTH_WAYS
    distance = np.maximum(-right, 0) if causal else np.abs(right)
    bucket = np.searchsorted(starts, distance, side="right") - 1
    if not causal:
        bucket = bucket + 16 * (right > 0)
    bias = _either(parameters, stack, "relative_bias/table")[:, bucket]
    return np.where(right > 0, -1e9, bias) if causal else bias


def _attend(
    parameters: Arrays,
    part: str,
    x: np.ndarray,
    memory: np.ndarray | None,
    key_segments: np.ndarray,
    bias: np.ndarray | float,
) -> np.ndarray:
    """Adds an attention sublayer; outputs at padding are meaningless."""
    y = _norm(x, parameters[f"layer/{part}_norm/scale"])
    memory = y if memory is None else memory

    def heads(values: np.ndarray, kernel: str) -> np.ndarray:
        projected = values @ parameters[f"layer/{part}/{kernel}"]
        split = projected.reshape(*projected.shape[:2], SHAPE["num_heads"], -1)
        return split.transpose(0, 2, 1, 3)

    scores = heads(y, "query") @ heads(memory, "key").swapaxes(-1, -2) + bias
    scores = np.where(key_segments[:, None, None, :] == 0, -1e9, scores)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = scores / scores.sum(-1, keepdims=True) @ heads(memory, "value")
    mixed = mixed.transpose(0, 2, 1, 3).reshape(*x.shape[:2], -1)
    return x + mixed @ parameters[f"layer/{part}/output"]


def _feed_forward(parameters: Arrays, x: np.ndarray) -> np.ndarray:
    y = _norm(x, parameters["layer/feed_forward_norm/scale"])
    hidden = np.maximum(y @ parameters["layer/feed_forward/wi"], 0.0)
    return x + hidden @ parameters["layer/feed_forward/wo"]


if __name__ == "__main__":
    print(f"numpy {np.__version__}")
    for variant_name in VARIANTS:
        values = make(variant_name)
        np.savez_compressed(FOLDER / f"{variant_name}.npz", **values)
        print(f"{variant_name}: loss {values['loss']:.6f}")
