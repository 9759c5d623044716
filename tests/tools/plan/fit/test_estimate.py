"""Tests the estimates that choose what is compiled."""

import pytest

from clinometer import models
from clinometer.kernels.tpu import chips
from clinometer.tools.plan import machines
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan.fit import estimate
from clinometer.tools.plan.fit import meshes
from clinometer.train.sharding import mesh as mesh_lib

V3 = machines.of_chip(chips.CHIPS["v3"])
MIB = 2**20
# MiB of arguments and of all that a device of v3:4x4 needs, as compiled with libtpu
# 0.0.51 (tools/plan/validation/records.json has more).
COMPILED = [
    ("transformer-small", 1, "none", 232, 232 + 810),
    ("transformer-base", 1, "none", 853, 853 + 2527),
    ("transformer-large", 2, "none", 1411, 1411 + 8327),
    ("transformer-xl", 8, "layer", 1364, 1364 + 3055),
]


def shape(name):
    request = request_lib.Request(name, "v3:4x4", fields={"dtype": "bfloat16"})
    config = models.build(name, **request.model_fields).config
    return estimate.shape_of(config, run_plan.counts_of(request), kernels=False)


def candidate(parts, remat="none", number=1, held=MIB, **sizes):
    sizes = mesh_lib.Sizes(**({"data": 32 // parts, "model": parts} | sizes))
    return estimate.Candidate(meshes.Mesh(sizes, held, held), remat, number)


@pytest.mark.parametrize(("name", "parts", "remat", "held", "needed"), COMPILED)
def test_memory_is_about_what_the_compiler_needs(name, parts, remat, held, needed):
    one = candidate(parts, remat, held=held * MIB)
    found = estimate.memory(one, shape(name))
    assert found / MIB == pytest.approx(needed, rel=0.5)


def test_what_needs_less_memory():
    base = shape("transformer-base")
    whole = estimate.memory(candidate(1), base)
    assert estimate.memory(candidate(1, number=2), base) < whole
    assert estimate.memory(candidate(2, data=32), base) < whole
    dots = estimate.memory(candidate(1, "dots"), base)
    assert estimate.memory(candidate(1, "layer"), base) < dots < whole
    held = estimate.memory(candidate(1, held=101 * MIB), base)
    assert held == pytest.approx(whole + 2 * 100 * MIB)


def test_what_takes_longer():
    base = shape("transformer-base")

    def seconds(*arguments, **options):
        return estimate.seconds(candidate(*arguments, **options), base, V3)

    assert seconds(1) < seconds(1, "dots") < seconds(1, "layer")
    assert seconds(2) < seconds(4) < seconds(8)
    assert seconds(1) < seconds(1, data=1, fsdp=32)
