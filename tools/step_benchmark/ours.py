"""Our train steps, compiled as functions without arguments."""

from collections.abc import Callable
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from clinometer import models
from clinometer.kernels.bench import timer
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import pretrain

DTYPES = ("float32", "bfloat16")
IMPLEMENTATIONS = ("reference", "auto")

# By how much losses may differ from those of the first form, relative to them. At
# initialisation, logits have deviations of several nats; bfloat16 has 8 bits.
_TOLERANCES = {"float32": 1e-3, "bfloat16": 1e-2}


def steps(
    name: str,
    batch_size: int,
    shape: models.TextShape,
    dtypes: Iterable[str],
    implementations: Iterable[str],
    **overrides: Any,
) -> dict[str, Callable[[], Any]]:
    """Compiles the forward pass, the backward pass and the update of a model.

    Args:
        name: name of the model.
        batch_size: B.
        shape: shape of an example.
        dtypes: dtypes of the activations.
        implementations: of the kernels, each with every dtype.
        **overrides: fields of the model's config.

    Returns:
        By "DTYPE IMPLEMENTATION", a function that runs a step and returns when it is
        done. Each call starts from the same state.

    Raises:
        ModelNameError: see `models.build`.
        ConfigError: see `models.build`.
        timer.DisagreementError: a loss differs from that of the first form.
    """
    optimizer = optimizer_lib.make(pretrain.get_config().optimizer)
    functions: dict[str, Callable[[], Any]] = {}
    first = None
    for dtype in dtypes:
        for implementation in implementations:
            model = models.build(
                name, **overrides, dtype=dtype, implementation=implementation
            )
            run = _compiled(model, optimizer, model.random_batch(0, batch_size, shape))
            losses = [np.asarray(run()[1].loss.loss_sum)]
            first = first or losses
            timer.check_agreement("loss", first, losses, _TOLERANCES[dtype])
            functions[f"{dtype} {implementation}"] = run
    return functions


def _compiled(
    model: models.EncoderDecoder, optimizer: optimizer_lib.Optimizer, batch: Any
) -> Callable[[], Any]:
    step = state_lib.make_train_step(
        model, optimizer, lambda _: 0.01, seed=0, z_loss=1e-4
    )
    state = jax.jit(lambda: state_lib.initialise(model, optimizer, seed=0))()
    compiled = jax.jit(step).lower(state, batch).compile()
    return lambda: jax.block_until_ready(compiled(state, batch))
