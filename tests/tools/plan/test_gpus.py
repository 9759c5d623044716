"""Tests the facts about GPUs against NVIDIA's figures of the whole GPU."""

import re

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.tools.plan import gpus


# Of H100, NVIDIA gives the peak of FP32 at 1.98 GHz, and that of products at 1.83 GHz.
@pytest.mark.parametrize(
    ("name", "cores", "fp32_teraflops", "flops_of_a_clock", "gigahertz"),
    [
        ("a100-40gb", 6912, 19.5, 2048, 1.41),
        ("a100", 6912, 19.5, 2048, 1.41),
        ("h100", 16896, 66.9, 4096, 1.83),
    ],
)
def test_units_times_the_clock_are_the_published_peaks(
    name, cores, fp32_teraflops, flops_of_a_clock, gigahertz
):
    gpu = gpus.GPUS[name]
    assert gpu.multiprocessors * gpu.fp32_units == cores
    # Published with three digits.
    fp32 = 2 * cores * gpu.clock_gigahertz * 1e9
    assert fp32 == pytest.approx(fp32_teraflops * 1e12, rel=0.005)
    products = gpu.multiprocessors * flops_of_a_clock * gigahertz * 1e9
    assert gpu.flops_per_second == pytest.approx(products, rel=0.005)


def test_a_description_has_the_limits_of_the_programming_guide():
    text = gpus.GPUS["h100"].description(cudnn="9.28.1.4", cuda="13.5.37")
    device, rest = text.split("\n", 1)
    found = dict(re.findall(r"(\w+): ([\d.]+)", device))
    assert found["core_count"] == "132" and found["major"] == "9"
    # 228 KB of a multiprocessor and 227 KB of a block, 64 K registers, 50 MB, 80 GB.
    assert found["shared_memory_per_core"] == "233472"
    assert found["shared_memory_per_block_optin"] == "232448"
    assert found["registers_per_core_limit"] == "65536"
    assert found["l2_cache_size"] == "52428800"
    assert found["device_memory_size"] == "80000000000"
    assert found["memory_bandwidth"] == "3350000000000"
    assert "dnn_version_info { major: 9 minor: 28 patch: 1 }" in rest
    assert "runtime_version { major: 13 minor: 5 patch: 37 }" in rest
    assert 'device_description_str: "NVIDIA H100 80GB HBM3"' in rest


def test_names_are_a_gpu_or_several_of_a_host():
    assert gpus.resolve("h100") == (gpus.GPUS["h100"], 1)
    assert gpus.resolve("a100-40gb:4") == (gpus.GPUS["a100-40gb"], 4)
    for name in ("v100", "h100:9", "h100:0", "h100:", "h100:2:2", ":2", ""):
        with pytest.raises(OptionError, match="known are a100-40gb, a100, h100, or"):
            gpus.resolve(name)
