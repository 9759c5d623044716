"""Tests the meshes that a model can be divided over, on forced CPU devices."""

import math

from clinometer.tests.kernels import child
from clinometer.tools.plan.fit import meshes
from clinometer.train.sharding import mesh as mesh_lib

# Compares with the placement that training makes for each mesh.
_CODE = """
import json
import jax
from clinometer import models
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan.fit import meshes
from clinometer.train import job, optimizer
from clinometer.train.configs import pretrain
from clinometer.train.sharding import summary

found = {}
cases = (
    ("switch-pico", {}, {"sequences_per_group": 1}),
    ("transformer-pico", {"model": 2}, {}),
)
for name, mesh, fields in cases:
    request = request_lib.Request(
        name, "any", batch_size=8, encoder_length=32, decoder_length=16,
        mesh=mesh, fields={"vocab_size": 512, "scan_layers": True, **fields},
    )
    model = models.build(name, **request.model_fields)
    rows = []
    for one in meshes.possible(request, jax.devices()):
        config = pretrain.get_config()
        config.data.batch_size = 8
        config.mesh.update(meshes.to_json(one)["sizes"])
        placed = job.place(
            config, model, optimizer.make(config.optimizer), request.shape
        )
        rows.append([
            meshes.to_json(one),
            summary.bytes_per_device(placed.state),
            summary.bytes_per_device(placed.state.params),
        ])
    found[name] = rows
print(json.dumps(found))
"""


def test_bytes_are_those_of_the_placement_of_training():
    flags = "--xla_force_host_platform_device_count=8"
    finished = child.run(_CODE, XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    found = child.printed(finished)
    for rows in found.values():
        for values, state_bytes, param_bytes in rows:
            mesh = meshes.from_json(values)
            assert mesh.sizes.devices == 8
            assert (mesh.state_bytes, mesh.param_bytes) == (state_bytes, param_bytes)
        assert len({x[2] for x in rows}) > 1  # Some meshes divide more than others.
    sizes = {tuple(x[0]["sizes"].values()) for x in found["switch-pico"]}
    assert (1, 1, 8, 1) in sizes and (8, 1, 1, 1) in sizes
    # Without experts that axis stays 1, and a size that is given is kept.
    vanilla = {tuple(x[0]["sizes"].values()) for x in found["transformer-pico"]}
    assert vanilla == {(4, 1, 1, 2), (2, 2, 1, 2), (1, 4, 1, 2)}


def test_all_meshes_of_some_devices():
    found = list(meshes.factorizations(12))
    assert len(found) == len(set(found))
    assert all(mesh.devices == 12 for mesh in found)
    # 12 = 2^2 * 3: the ways to spread two twos and one three over four axes.
    assert len(found) == math.comb(2 + 3, 3) * math.comb(1 + 3, 3)
    assert mesh_lib.Sizes(2, 3, 1, 2) in found
