"""The NVIDIA GPUs that plans are made for, without having one.

The facts are NVIDIA's: of the data sheets of A100 and H100 (memory, bandwidth) and the
white papers of their architectures (multiprocessors, FP32 units, shared memory, L2
cache, boost clock), all of the SXM version; limits of threads and registers are those
of the CUDA programming guide for compute capabilities 8.0 and 9.0.
"""

import dataclasses
import re

from clinometer.kernels.options.errors import OptionError
from clinometer.train.host import speed

# What JAX takes of a GPU's memory by default, see "GPU memory allocation" in its docs.
TAKEN = 0.75
MOST = 8  # GPUs of a host, all of which are connected by NVLink.
_KIBI = 1024
_NAME = re.compile(r"([^:]+)(?::([1-9]\d*))?")


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A kind of GPU.

    Attributes:
        name: the name used in options, e.g. "h100".
        device_kind: JAX's `device.device_kind`, e.g. "NVIDIA H100 80GB HBM3".
        compute_capability: its major number; the minor one is 0.
        multiprocessors: number of streaming multiprocessors (SMs).
        fp32_units: of a multiprocessor.
        shared_kibibytes: shared memory of a multiprocessor, of which a block of threads
            can have all but one.
        l2_mebibytes: the L2 cache.
        memory_bytes: memory of the GPU.
        bytes_per_second: bandwidth of this memory.
        clock_gigahertz: boost clock.
    """

    name: str
    device_kind: str
    compute_capability: int
    multiprocessors: int
    fp32_units: int
    shared_kibibytes: int
    l2_mebibytes: int
    memory_bytes: int
    bytes_per_second: float
    clock_gigahertz: float

    @property
    def flops_per_second(self) -> float:
        """Peak of dense bfloat16 products, by which training measures `mfu`."""
        return speed.PEAK_FLOPS_PER_SECOND[self.device_kind]

    @property
    def taken_bytes(self) -> int:
        """The memory that JAX takes by default, which a step must fit in."""
        return int(TAKEN * self.memory_bytes)

    def description(self, cudnn: str, cuda: str) -> str:
        """Returns XLA's description of the GPU, a text proto of `GpuTargetConfigProto`.

        Args:
            cudnn: version of cuDNN.
            cuda: version of the CUDA runtime.
        """
        shared = self.shared_kibibytes * _KIBI
        device = {
            "threads_per_block_limit": 1024,
            "threads_per_warp": 32,
            "threads_per_core_limit": 2048,
            "registers_per_core_limit": 64 * _KIBI,
            "registers_per_block_limit": 64 * _KIBI,
            "block_dim_limit_x": 2**31 - 1,
            "block_dim_limit_y": 2**16 - 1,
            "block_dim_limit_z": 2**16 - 1,
            "shared_memory_per_core": shared,
            "shared_memory_per_block": 48 * _KIBI,
            "shared_memory_per_block_optin": shared - _KIBI,
            "core_count": self.multiprocessors,
            "fpus_per_core": self.fp32_units,
            "l2_cache_size": self.l2_mebibytes * _KIBI**2,
            "device_memory_size": self.memory_bytes,
            "memory_bandwidth": int(self.bytes_per_second),
            "clock_rate_ghz": self.clock_gigahertz,
        }
        fields = " ".join(f"{name}: {value}" for name, value in device.items())
        capability = f"cuda_compute_capability {{ major: {self.compute_capability} }}"
        return (
            f"gpu_device_info {{ {fields} {capability} }}\n"
            'platform_name: "CUDA"\n'
            f"dnn_version_info {{ {_version(cudnn)} }}\n"
            f"runtime_version {{ {_version(cuda)} }}\n"
            f'device_description_str: "{self.device_kind}"\n'
        )


GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            "a100-40gb",
            "NVIDIA A100-SXM4-40GB",
            compute_capability=8,
            multiprocessors=108,
            fp32_units=64,
            shared_kibibytes=164,
            l2_mebibytes=40,
            memory_bytes=40 * 10**9,
            bytes_per_second=1.555e12,
            clock_gigahertz=1.41,
        ),
        Gpu(
            "a100",
            "NVIDIA A100-SXM4-80GB",
            compute_capability=8,
            multiprocessors=108,
            fp32_units=64,
            shared_kibibytes=164,
            l2_mebibytes=40,
            memory_bytes=80 * 10**9,
            bytes_per_second=2.039e12,
            clock_gigahertz=1.41,
        ),
        Gpu(
            "h100",
            "NVIDIA H100 80GB HBM3",
            compute_capability=9,
            multiprocessors=132,
            fp32_units=128,
            shared_kibibytes=228,
            l2_mebibytes=50,
            memory_bytes=80 * 10**9,
            bytes_per_second=3.35e12,
            clock_gigahertz=1.98,
        ),
    )
}


def resolve(name: str) -> tuple[Gpu, int]:
    """Returns the kind and the number of GPUs that a name says.

    Args:
        name: a GPU, e.g. "h100", or several of one host, e.g. "h100:8".

    Raises:
        OptionError: there is no such GPU, or a host does not have as many; the message
            lists all.
    """
    found = _NAME.fullmatch(name)
    count = int(found.group(2) or 1) if found else 0
    if found is None or found.group(1) not in GPUS or count > MOST:
        raise OptionError(
            f"--gpu: got {name!r}; known are {', '.join(GPUS)}, or one of them with a "
            f"number up to {MOST}, such as h100:8 for all of a host"
        )
    return GPUS[found.group(1)], count


def _version(text: str) -> str:
    """Returns the fields of a version, e.g. of "13.5.37"."""
    parts = re.findall(r"\d+", text)[:3]
    names = ("major", "minor", "patch")
    return " ".join(f"{name}: {part}" for name, part in zip(names, parts))
