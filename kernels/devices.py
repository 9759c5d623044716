"""Whether JAX has the device that its environment asks for."""

import jax

from clinometer.kernels.options.errors import OptionError


def check() -> None:
    """Raises OptionError where JAX_PLATFORMS names a device that is not here."""
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # The latter of one it knows not.
        platforms = jax.config.jax_platforms
        if not platforms:
            raise
        reason = f" ({str(error).splitlines()[0]})" if str(error) else ""
        raise OptionError(
            f"JAX_PLATFORMS={platforms}: JAX has no such device here{reason}; unset "
            "it, or set it to cpu"
        ) from error
