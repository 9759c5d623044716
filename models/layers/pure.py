"""Turns functions that use Haiku modules into pure functions of parameters."""

from collections.abc import Callable
from collections.abc import Hashable
import functools
from typing import Any

import haiku as hk
import jax
import jax.numpy as jnp

from clinometer.models import keys


def function(uses_modules: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a pure function of parameters and the arguments of the given function."""
    return hk.without_apply_rng(hk.transform(uses_modules)).apply


def initialiser(
    uses_modules: Callable[[], Any],
) -> Callable[[jax.Array], dict[str, dict[str, jax.Array]]]:
    """Returns a function from a random key to initial parameters.

    Each parameter depends only on the key and its own name, not on the order in which
    they are created. All parameters that have the same shape and the same initialiser
    (the same object) are drawn by one loop, so that the program of a deep model is
    hardly longer than that of a flat one.

    Args:
        uses_modules: a function that creates all parameters.
    """

    def initialise(key: jax.Array) -> dict[str, dict[str, jax.Array]]:
        kinds: dict[str, tuple[Any, tuple[int, ...], Any]] = {}

        def create(
            next_creator: Any, shape: Any, dtype: Any, init: Any, context: Any
        ) -> jax.Array:
            if not isinstance(init, Hashable):  # Such as a dataclass with equality.
                init = functools.partial(init)
            kinds[context.full_name] = (init, tuple(shape), dtype)
            return next_creator(shape, dtype, jnp.zeros)

        def create_all() -> Any:
            with hk.custom_creator(create):
                return uses_modules()

        structure = jax.eval_shape(hk.transform(create_all).init, key)
        base_key = hk.transform(hk.next_rng_key).apply({}, key)
        drawn: dict[str, jax.Array] = {}
        for kind in dict.fromkeys(kinds.values()):
            names = [name for name in kinds if kinds[name] == kind]
            values = _draw(*kind, keys.fold_each(base_key, names))
            drawn |= {name: values[i] for i, name in enumerate(names)}
        return {
            module: {name: drawn[f"{module}/{name}"] for name in leaves}
            for module, leaves in structure.items()
        }

    return initialise


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _draw(
    init: Callable[..., jax.Array], shape: tuple[int, ...], dtype: Any, each: jax.Array
) -> jax.Array:
    """Returns a parameter [*shape] for each of the keys [n]: [n, *shape]."""
    one = hk.transform(lambda: init(shape, dtype)).apply
    return jax.lax.map(functools.partial(one, {}), each)
