"""JAX's CUDA plugin as a compiler for GPUs that are not here."""

from collections.abc import Sequence
import importlib.metadata
from typing import Any

from jax.experimental import topologies

from clinometer.tools.plan import gpus
from clinometer.train import errors

PLATFORM = "cuda"
# Without a GPU nothing can be timed, so nothing is tuned; matrix products are those of
# cuBLAS, since the forms of Triton need tuning to be chosen.
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "XLA_FLAGS": "--xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false",
}
_CUDNN, _RUNTIME = "nvidia-cudnn-cu13", "nvidia-cuda-runtime"
_COMPILER = ("jax-cuda13-pjrt", "jax-cuda13-plugin", "nvidia-cuda-nvcc")
# Their versions are part of a program's key.
PACKAGES = (*_COMPILER, _RUNTIME, _CUDNN)


class MissingError(errors.RunError):
    """A package of the extra `cuda` is not installed."""


def check_installed() -> None:
    """Checks that the compiler is installed.

    Raises:
        MissingError: it is not.
    """
    for package in PACKAGES:
        _version(package)


def description(gpu: gpus.Gpu) -> str:
    """Returns XLA's description of a GPU, with the libraries that are installed.

    Args:
        gpu: the GPU.

    Raises:
        MissingError: they are not installed.
    """
    return gpu.description(cudnn=_version(_CUDNN), cuda=_version(_RUNTIME))


def devices(name: str) -> Sequence[Any]:
    """Returns descriptions of the devices of a host.

    Args:
        name: see `gpus.resolve`.

    Raises:
        MissingError: the compiler is not installed.
        RuntimeError: the compiler does not accept the description of the GPU.
    """
    gpu, count = gpus.resolve(name)
    found = topologies.get_topology_desc(
        platform=PLATFORM,
        target_config=description(gpu),
        topology=f"1x1x{count}",  # Slices, hosts, GPUs of a host.
    )
    return found.devices


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise MissingError(
            f"--gpu: the Python package '{package}' is not installed; make setup-cuda "
            "in a checkout (4.4 GB), or pip install 'clinometer[cuda]'"
        ) from None
