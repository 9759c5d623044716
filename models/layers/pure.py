"""Turns functions that use Haiku modules into pure functions of parameters."""

from collections.abc import Callable
from typing import Any

import haiku as hk
import jax

from clinometer.models import keys


def function(uses_modules: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a pure function of parameters and the arguments of the given function."""
    return hk.without_apply_rng(hk.transform(uses_modules)).apply


def initialiser(
    uses_modules: Callable[[], Any],
) -> Callable[[jax.Array], dict[str, dict[str, jax.Array]]]:
    """Returns a function from a random key to initial parameters.

    Each parameter depends only on the key and its own name, not on the order in which
    they are created.

    Args:
        uses_modules: a function that creates all parameters.
    """

    def create_all() -> Any:
        base_key = hk.next_rng_key()

        def create(
            next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any
        ) -> jax.Array:
            with hk.with_rng(keys.fold(base_key, context.full_name)):
                return next_creator(shape, dtype, init)

        with hk.custom_creator(create):
            return uses_modules()

    return hk.transform(create_all).init
