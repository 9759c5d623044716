"""Describes the software, hardware and JAX settings that a run depends on."""

import os
import pathlib
from typing import Any

import jax

from clinometer.kernels.bench import cpu_quota
from clinometer.kernels.bench import environment as machine
from clinometer.train.run import checkpoint_meta

# JAX settings that change numerical results, and so must be unchanged on resuming.
_SETTINGS = (
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_enable_x64",
    "jax_random_seed_offset",
    "jax_softmax_custom_jvp",
    "jax_threefry_partitionable",
)

# Environment variables with compiler flags.
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
    """Returns the JAX settings that change numerical results, by name."""
    return {
        name: jax.config.values[name]
        for name in _SETTINGS
        if name in jax.config.values  # Not every version of JAX has all of them.
    }


def identity() -> dict[str, Any]:
    """Returns `numerics` as flat fields that must be unchanged on resuming."""
    return {
        checkpoint_meta.NUMERICS + name: value for name, value in numerics().items()
    }


def versions() -> dict[str, str | None]:
    """Returns the versions of the packages that a run depends on."""
    return machine.versions(_PACKAGES)


def describe() -> dict[str, Any]:
    """Returns the git revision, versions, flags, device and settings for the record."""
    first = jax.devices()[0]
    return {
        **machine.git_revision(_ROOT),
        "versions": versions(),
        "flags": {name: os.environ[name] for name in _FLAGS if name in os.environ},
        "device": {
            "platform": first.platform,
            "kind": first.device_kind,
            "count": jax.device_count(),
            "threads": machine.threads(),
            "cpu_quota": cpu_quota.cpu_quota(),  # Of a container, in CPUs.
            "host_cpu": machine.host_cpu(),
        },
        "numerics": numerics(),
    }
