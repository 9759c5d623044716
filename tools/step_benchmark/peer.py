"""The same train steps in PyTorch, with Hugging Face `transformers`."""

from collections.abc import Callable
import importlib.util
from typing import Any

import numpy as np

from clinometer import models
from clinometer.models.architectures import registry
from clinometer.models.seq2seq import batch as batch_lib
from clinometer.tools.released import hf_config

_PACKAGES = ("torch", "transformers")
_ARCHITECTURES = (hf_config.VANILLA, hf_config.GATED)
_LEARNING_RATE = 0.01


def check(names: list[str]) -> None:
    """Checks that there are such steps of models.

    Args:
        names: names of models.

    Raises:
        ValueError: a package is not installed, or `transformers` has no such model.
    """
    missing = [x for x in _PACKAGES if importlib.util.find_spec(x) is None]
    if missing:
        raise ValueError(
            f"--peer: {missing[0]} is not installed; `make setup-peer` makes "
            ".venv-peer, which has it"
        )
    for name in names:
        if registry.parse(name).architecture not in _ARCHITECTURES:
            raise ValueError(
                f"--peer: {name}: Hugging Face has no such model; accepted "
                f"architectures: {', '.join(_ARCHITECTURES)}"
            )


def steps(
    name: str, batch_size: int, shape: models.TextShape, **overrides: Any
) -> dict[str, Callable[[], Any]]:
    """Builds steps of a model: eager and compiled, in float32 and mixed precision.

    Parameters are float32, as ours. In bfloat16, a step runs under `torch.autocast`, as
    with `bf16` in Hugging Face's Trainer. The update is that of their Adafactor.

    Args:
        name: name of the model.
        batch_size: B.
        shape: shape of an example.
        **overrides: fields of the model's config.

    Returns:
        By "peer, DTYPE FORM", a function that runs a step.
    """
    model = models.build(name, **overrides)
    batch = model.random_batch(0, batch_size, shape)
    return {
        f"peer, {dtype} {form}": _step(model, batch, dtype, form == "compiled")
        for dtype in ("float32", "bfloat16")
        for form in ("eager", "compiled")
    }


def _step(
    model: models.EncoderDecoder, batch: Any, dtype: str, is_compiled: bool
) -> Callable[[], Any]:
    import torch
    import transformers
    from transformers import optimization

    # The keys of its caches are pickled from whatever modules hold, which fails at
    # Haiku's stand-in for flax.
    torch._inductor.config.fx_graph_cache = False
    torch._functorch.config.enable_autograd_cache = False

    config = transformers.T5Config(**hf_config.written(model))
    peer = transformers.T5ForConditionalGeneration(config).train()
    update = optimization.Adafactor(
        peer.parameters(),
        lr=_LEARNING_RATE,
        scale_parameter=False,
        relative_step=False,
    )
    forward = torch.compile(peer) if is_compiled else peer
    inputs, targets = batch_lib.split(batch)
    tokens = torch.tensor(np.asarray(inputs["encoder_input_tokens"], np.int64))
    labels = torch.tensor(np.asarray(targets, np.int64))
    mixed = dtype == "bfloat16"

    def run() -> float:
        update.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = forward(input_ids=tokens, labels=labels).loss
        loss.backward()
        update.step()
        return float(loss.detach())

    return run
