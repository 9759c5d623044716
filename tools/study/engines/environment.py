"""The environment variables of a run."""

from collections.abc import Mapping

from clinometer.kernels import python_child


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
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        **python_child.environment(environment),
        **dict.fromkeys(threads, str(cpus)),
        "XLA_FLAGS": flags,
        "PYTHONUNBUFFERED": "1",
    }
