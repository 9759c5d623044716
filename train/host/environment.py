"""What a run's numbers depend on besides its configuration."""

import os
import pathlib
from typing import Any

import jax

from clinometer.kernels.bench import cpu_quota
from clinometer.kernels.bench import environment as machine
from clinometer.train.run import checkpoint_meta

# A run that resumes must share these settings of JAX: each changes numbers.
_SETTINGS = (
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_enable_x64",
    "jax_random_seed_offset",
    "jax_softmax_custom_jvp",
    "jax_threefry_partitionable",
)

# What the compilers read besides the program.
_FLAGS = ("XLA_FLAGS", "LIBTPU_INIT_ARGS")
_ROOT = pathlib.Path(__file__).resolve().parents[2]
_PACKAGES = (
    "clinometer",
    "dm-haiku",
    "grain",
    "jax",
    "jaxlib",
    "ml_collections",
    "numpy",
    "optax",
    "orbax-checkpoint",
)


def numerics() -> dict[str, Any]:
    """Returns the settings of JAX that change numbers, by their names."""
    return {
        name: jax.config.values[name]
        for name in _SETTINGS
        if name in jax.config.values  # of this version of JAX
    }


def identity() -> dict[str, Any]:
    """Returns them as flat fields that a run which resumes must share."""
    return {
        checkpoint_meta.NUMERICS + name: value for name, value in numerics().items()
    }


def describe() -> dict[str, Any]:
    """Returns git revision, versions, flags, device and settings, for the record."""
    first = jax.devices()[0]
    return {
        **machine.git_revision(_ROOT),
        "versions": machine.versions(_PACKAGES),
        "flags": {name: os.environ[name] for name in _FLAGS if name in os.environ},
        "device": {
            "platform": first.platform,
            "kind": first.device_kind,
            "count": jax.device_count(),
            "threads": machine.threads(),
            "cpu_quota": cpu_quota.cpu_quota(),  # of a container, in CPUs
            "host_cpu": machine.host_cpu(),
        },
        "numerics": numerics(),
    }
