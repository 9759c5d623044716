"""What holds for all operations: instruction sets, threads, devices, sanitizer."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from clinometer.tests.kernels import every_op

ROOT = pathlib.Path(every_op.__file__).resolve().parents[2]


def run(code, **environment):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tools/imports"),
    } | environment
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={name: value for name, value in environment.items() if value},
        timeout=300,
    )


MAIN = "from clinometer.tests.kernels import every_op; every_op.main()"


def printed(finished):
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.parametrize("isa", ["baseline", "avx2", "avx512"])
def test_every_instruction_set_gives_the_reference(isa):
    finished = run(MAIN, CLINOMETER_CPU_ISA=isa)
    if "processor runs no more than" in finished.stderr:
        pytest.skip(f"this machine's processor has no {isa}")
    result = printed(finished)
    assert result["isa"] == isa
    assert len(result["errors"]) == 7
    for name, error in result["errors"].items():
        assert error < 2e-5, name


def test_an_unknown_instruction_set_is_an_error():
    finished = run(
        "from clinometer.kernels.cpu import native", CLINOMETER_CPU_ISA="neon"
    )
    assert "CLINOMETER_CPU_ISA=neon: accepted are baseline, avx2" in finished.stderr


def test_any_number_of_threads_gives_the_same_bits():
    # XLA has as many threads as the process may use cores.
    one_core = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])\n"
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core only: there is nothing to compare with")
    digests = MAIN.replace("main()", "main(with_errors=False)")
    many = printed(run(digests, XLA_FLAGS=""))
    one = printed(run(one_core + digests, XLA_FLAGS=""))
    assert many["digests"] == one["digests"]


SHARDED = """
import functools, json
import jax, numpy as np
from jax.sharding import PartitionSpec as P
from clinometer.tests.kernels import every_op

mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
shared = {"relative_attention": 1, "relative_attention_causal": 1, "light_conv": 1,
          "switch": 2}
results = {}
for name, (function, operands) in every_op.calls("cpu").items():
    if name.startswith("performer"):
        continue  # its mask is closed over; the op is like the first
    count = len(operands) - shared.get(name, 0)
    specs = (P("data"),) * count + (P(),) * shared.get(name, 0)

    def step(*operands, function=function):
        output, vjp = jax.vjp(function, *operands)
        gradients = vjp(jax.numpy.cos(output))
        return output, *gradients

    def local(*operands, count=count, step=step):
        output, *gradients = step(*operands)
        summed = [jax.lax.psum(g, "data") for g in gradients[count:]]
        return output, *gradients[:count], *summed

    sharded = jax.jit(jax.shard_map(
        local, mesh=mesh, in_specs=specs, out_specs=(P("data"), *specs),
        check_vma=False))
    placed = [jax.device_put(x, jax.sharding.NamedSharding(mesh, s))
              for x, s in zip(operands, specs)]
    text = sharded.lower(*placed).compile().as_text()
    want = jax.jit(step)(*operands)
    error = max(float(abs(np.asarray(a) - np.asarray(b)).max())
                for a, b in zip(sharded(*placed), want))
    results[name] = [error, "all-gather" in text]
print(json.dumps(results))
"""


def test_shards_of_the_batch_equal_one_device_without_a_gather():
    flags = "--xla_force_host_platform_device_count=2"
    results = printed(run(SHARDED, XLA_FLAGS=flags))
    assert len(results) == 5
    for name, (error, gathers) in results.items():
        assert error < 2e-4, name
        assert not gathers, name


# Loads the extension from `path` in place of the installed one.
SANITIZED = """
import importlib.util, sys
name = "clinometer.kernels.cpu._native"
spec = importlib.util.spec_from_file_location(name, {path!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
sys.modules[name] = module
import clinometer.kernels.cpu
clinometer.kernels.cpu._native = module
"""


@pytest.mark.slow
def test_address_sanitizer_finds_nothing(tmp_path):
    # The sanitizer wraps functions of the second, which must be there first.
    libraries = [
        subprocess.run(
            ["g++", f"-print-file-name={name}"], capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libstdc++.so")
    ]
    if not all(os.path.isabs(path) for path in libraries):
        pytest.skip("g++ has no libasan here")
    flags = "-fsanitize=address -fno-omit-frame-pointer"
    folders = ["--build-lib", str(tmp_path), "--build-temp", str(tmp_path / "temp")]
    built = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--force", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "CFLAGS": flags, "LDFLAGS": "-fsanitize=address"},
    )
    assert built.returncode == 0, built.stderr[-3000:]
    (path,) = tmp_path.rglob("_native*.so")
    finished = run(
        SANITIZED.format(path=str(path)) + MAIN,
        LD_PRELOAD=" ".join(libraries),
        ASAN_OPTIONS="detect_leaks=0",
    )
    assert "AddressSanitizer" not in finished.stderr, finished.stderr[:3000]
    assert printed(finished)["errors"]
