"""The environment variables of a run."""

from collections.abc import Mapping
import pathlib

from clinometer.kernels import python_child

_PROGRAMS = "JAX_COMPILATION_CACHE_DIR"
_MOST_BYTES = 2**30


def of_run(environment: Mapping[str, str], cpus: int = 1) -> dict[str, str]:
    """Returns the environment variables of a run on some cores.

    Libraries use as many threads even if more cores are free, so that the numbers of a
    run don't depend on how many others ran at the same time.

    Args:
        environment: the variables to start from.
        cpus: number of cores.
    """
    flags = environment.get("XLA_FLAGS", "")
    if cpus == 1 and "xla_cpu_multi_thread_eigen" not in flags:
        flags = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    # XLA divides sums by NPROC, by default the cores that a process may use.
    threads = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        **python_child.environment(environment),
        **dict.fromkeys(threads, str(cpus)),
        "XLA_FLAGS": flags,
        "PYTHONUNBUFFERED": "1",
    }


def with_programs(
    environment: Mapping[str, str], folder: pathlib.Path
) -> dict[str, str]:
    """Returns the environment of runs that share the programs that they compile.

    A program is taken over only if it is equal, so it computes the same.

    Args:
        environment: variables of a run. If they name a folder of JAX's programs, that
            one is used with its own settings.
        folder: the folder of the programs, which JAX creates and keeps below 1 GiB.
    """
    if environment.get(_PROGRAMS):
        return dict(environment)
    return {
        **environment,
        _PROGRAMS: str(folder),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(_MOST_BYTES),
        # A run has about a hundred programs below JAX's limit of a second.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
