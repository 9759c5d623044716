"""Checks that JAX has the device that JAX_PLATFORMS names."""

import jax

from clinometer.kernels.options.errors import OptionError


def check() -> None:
    """Raises OptionError if JAX_PLATFORMS names a platform that is not available."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: unknown name.
        platforms = jax.config.jax_platforms
        if not platforms:
            raise
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise OptionError(
            f"JAX_PLATFORMS={platforms}: JAX has no such device here{reason}; unset "
            "it, or set it to cpu"
        ) from error
