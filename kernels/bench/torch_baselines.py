"""Baselines from PyTorch, if it is installed; see `baselines.py`."""

from collections.abc import Callable
from collections.abc import Sequence
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from clinometer.kernels.relative_attention import buckets


def is_installed() -> bool:
    """Returns whether torch is installed, without importing it."""
    return importlib.util.find_spec("torch") is not None


def attention(causal: bool) -> Callable[..., Any]:
    """Returns `scaled_dot_product_attention` with the relative bias as its mask.

    Args:
        causal: whether later keys are masked.
    """

    def run(query: Any, key: Any, value: Any, table: Any) -> Any:
        import torch

        length = query.shape[1]
        positions = np.arange(length)
        ahead = positions[None, :] - positions[:, None]
        distances = jnp.arange(1 - length, length)
        of_distance = buckets.relative_position_bucket(
            distances, bidirectional=not causal
        )
        bucket = np.asarray(of_distance)[ahead + length - 1]
        bias = table[:, torch.from_numpy(bucket).long()][None].to(query.dtype)
        if causal:
            bias = bias.masked_fill(torch.from_numpy(ahead > 0), float("-inf"))
        output = torch.nn.functional.scaled_dot_product_attention(
            *(x.transpose(1, 2) for x in (query, key, value)), attn_mask=bias, scale=1.0
        )
        return output.transpose(1, 2)

    return run


def light_conv(x: Any, weights: Any) -> Any:
    """Causal light convolution by `conv1d`, one group per channel."""
    import torch

    channels, taps = x.shape[2], weights.shape[1]
    filters = weights.repeat_interleave(channels // weights.shape[0], dim=0)
    padded = torch.nn.functional.pad(x.transpose(1, 2), (taps - 1, 0))
    output = torch.nn.functional.conv1d(padded, filters[:, None], groups=channels)
    return output.transpose(1, 2)


def prepare(
    function: Callable[..., Any],
    arguments: Sequence[jax.Array],
    cotangents: Sequence[jax.Array],
    num_gradients: int,
    threads: int,
) -> Callable[[], list[Any]]:
    """Returns a function that calls `function`, with gradients if there are cotangents.

    Args:
        function: a function of tensors with one result.
        arguments: the arguments, which are converted to tensors once.
        cotangents: the result's cotangent; empty for the forward pass only.
        num_gradients: how many of the first arguments get a gradient.
        threads: the number of threads of torch, set for the whole process.
    """
    import torch

    torch.set_num_threads(threads)
    with_gradients = bool(cotangents)
    tensors = [_tensor(x) for x in arguments]
    wanted = tensors[:num_gradients]
    for x in wanted:
        x.requires_grad_(with_gradients)
    gradients = [_tensor(x) for x in cotangents]

    def run() -> list[Any]:
        with torch.set_grad_enabled(with_gradients):
            output = function(*tensors)
            if not with_gradients:
                return [output]
            return [output, *torch.autograd.grad(output, wanted, gradients[0])]

    return run


def to_numpy(results: Sequence[Any]) -> list[np.ndarray]:
    """Returns the results of a prepared call as float32 arrays."""
    return [x.detach().float().numpy() for x in results]


def _tensor(x: jax.Array) -> Any:
    import torch

    tensor = torch.from_numpy(np.array(x.astype(jnp.float32)))
    return tensor.to(torch.bfloat16) if x.dtype == jnp.bfloat16 else tensor
