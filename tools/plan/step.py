"""Lowers the train step of training for devices that are not here.

Must run in a process with `compiler.ENVIRONMENT`, or `cuda.ENVIRONMENT` for GPUs.
"""

import dataclasses
import hashlib
from typing import Any

import jax

from clinometer import kernels
from clinometer import models
from clinometer.kernels.bench import environment
from clinometer.tools.plan import cuda
from clinometer.tools.plan import devices as devices_lib
from clinometer.tools.plan import request as request_lib
from clinometer.train import job as job_lib
from clinometer.train import optimizer as optimizer_lib
from clinometer.train import state as state_lib
from clinometer.train.configs import classify
from clinometer.train.configs import pretrain
from clinometer.train.sharding import mesh as mesh_lib

_PACKAGES = ("jax", "jaxlib")
_COMPILERS = {"tpu": ("libtpu",), cuda.PLATFORM: cuda.PACKAGES}


@dataclasses.dataclass(frozen=True)
class Step:
    """A train step that has been lowered for all devices of a topology.

    Attributes:
        lowered: the program, before the compiler has optimized it.
        key: hash of the program, the topology and the compiler's version.
        facts: what is known without compiling, for JSON: the devices, the mesh and the
            implementations that were chosen.
    """

    lowered: jax.stages.Lowered
    key: str
    facts: dict[str, Any]


def lower(request: request_lib.Request) -> Step:
    """Lowers a train step by the partition rules of training.

    Args:
        request: what to lower.

    Raises:
        ModelNameError, ConfigError: as for `models.build`.
        RunError: the mesh does not fit the devices, the model or the batch.
        RuntimeError: the compiler has no such topology.
    """
    devices = devices_lib.of(request)
    model = models.build(request.model, **request.model_fields)
    images = models.takes_images(request.model)
    config = (classify if images else pretrain).get_config(request.model)
    config.update_from_flattened_dict(request.settings)
    config.mesh.update(request.mesh)
    config.data.batch_size = request.batch_size
    config.num_microbatches = request.num_microbatches
    optimizer = optimizer_lib.make(config.optimizer)
    placed = job_lib.place(config, model, optimizer, request.shape, devices)
    step = state_lib.make_train_step(
        model,
        optimizer,
        lambda _: 0.01,
        seed=0,
        z_loss=config.z_loss,
        num_microbatches=request.num_microbatches,
    )
    batch = placed.abstract_batch(model, request.shape)
    with mesh_lib.shard_over(placed.mesh), kernels.target(devices[0].device_kind):
        choices = kernels.choices(step, placed.state, batch, platform=request.platform)
    lowered = placed.lower_train_step(step, batch)
    versions = environment.versions((*_PACKAGES, *_COMPILERS[request.platform]))
    described = devices_lib.described(request)
    return Step(
        lowered,
        _key(lowered.as_text(), described, *sorted(versions.items())),
        {
            "device_kind": devices[0].device_kind,
            "devices": len(devices),
            "chips": devices_lib.num_chips(request, devices),
            "cores_per_device": getattr(devices[0], "num_cores", 1),
            "mesh": dataclasses.asdict(placed.sizes),
            "choices": sorted({_choice_text(choice) for choice in choices}),
            "versions": versions,
        },
    )


def _key(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def _choice_text(choice: Any) -> str:
    reasons = "".join(f"; not {reason}" for reason in choice.passed_over)
    return f"{choice.op} ({choice.pass_name}): {choice.implementation}{reasons}"
