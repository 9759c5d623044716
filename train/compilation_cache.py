"""The persistent cache of compiled programs, by which a resumed run starts sooner."""

import jax
from jax.experimental.compilation_cache import compilation_cache

from clinometer.data import paths


def enable(folder: paths.PathLike | None) -> None:
    """Makes JAX read compiled programs from a folder and write new ones there.

    Args:
        folder: the folder, created if missing; it may be in an object store. None
            leaves JAX's own settings, such as JAX_COMPILATION_CACHE_DIR.
    """
    if folder is None:
        return
    paths.make_folder(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if not paths.is_remote(folder):
        # A run has about a hundred programs that compile in less than JAX's limit of a
        # second. To read each from an object store would take as long.
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # JAX looks for the setting once, at the first compilation of the process.
    compilation_cache.reset_cache()
