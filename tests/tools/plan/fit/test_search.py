"""Tests the search with plans that are made by hand."""

import pytest

from clinometer import models
from clinometer.kernels.options.errors import OptionError
from clinometer.kernels.tpu import chips
from clinometer.tools.plan import machines
from clinometer.tools.plan import request as request_lib
from clinometer.tools.plan import run_plan
from clinometer.tools.plan.fit import estimate
from clinometer.tools.plan.fit import meshes
from clinometer.tools.plan.fit import search
from clinometer.train.sharding import mesh as mesh_lib

REQUEST = request_lib.Request(
    "transformer-base", "v3:4x4", fields={"dtype": "bfloat16"}
)
MESHES = [
    meshes.Mesh(mesh_lib.Sizes(data=32 // n, model=n), 2**30 // n, 2**29 // n)
    for n in (1, 2, 4)
]
SHAPE = estimate.shape_of(
    models.build(REQUEST.model, **REQUEST.model_fields).config,
    run_plan.counts_of(REQUEST),
    kernels=False,
)


def run(fits, *, request=REQUEST, capacity=2**34):
    """Searches with a function that says whether a step fits; returns what it saw."""
    seen = []

    def compile_one(one):
        seen.append(one)
        ok = fits(one)
        return {"fits": ok, "ranking_seconds": 10.0 - len(seen) if ok else None}

    machine = machines.of_chip(chips.CHIPS["v3"])
    found = search.run(
        request, MESHES, machine, SHAPE, capacity=capacity, compile_one=compile_one
    )
    return found, seen


def test_at_most_eight_are_compiled_and_the_fastest_comes_first():
    found, seen = run(lambda _: True)
    assert len(seen) == len(found.records) == 8
    times = [record["ranking_seconds"] for record in found.records]
    assert times == sorted(times)
    # Each with as few microbatches as possible.
    assert all(one.num_microbatches == 1 for one in seen)
    best = found.to_json()
    assert best["ranking_seconds"] == times[0]
    assert [x["ranking_seconds"] for x in best["fit"]["others"]] == times[1:]


def test_what_needs_more_than_a_step_that_does_not_fit_is_not_compiled():
    found, seen = run(lambda _: False)
    needs = [record["estimated_bytes"] for record in found.records]
    assert len(needs) > 2
    assert all(later < before for before, later in zip(needs, needs[1:]))
    assert len(seen) == len(set(map(str, seen)))


def test_more_microbatches_follow_where_fewer_do_not_fit():
    found, seen = run(lambda one: one.num_microbatches >= 2)
    assert found.records[0]["fits"] and not found.records[-1]["fits"]
    pairs = [(str(one.mesh), one.fields["remat"]) for one in seen]
    fitting = [x for x, one in zip(pairs, seen) if one.num_microbatches >= 2]
    assert len(fitting) == len(set(fitting))


def test_what_is_not_estimated_to_fit_is_left_out():
    found, seen = run(lambda _: True, capacity=1_500_000_000)
    assert 0 < found.estimated < found.possible
    needs = [record["estimated_bytes"] for record in found.records]
    assert max(needs) <= 1_500_000_000


def test_if_nothing_is_estimated_to_fit_the_least_is_compiled():
    found, (one,) = run(lambda _: False, capacity=1)
    assert (found.estimated, len(found.records)) == (0, 1)
    assert one.mesh["model"] == 4 and one.fields["remat"] == "layer"


def test_what_is_given_is_kept():
    request = request_lib.Request(
        "transformer-base",
        "v3:4x4",
        num_microbatches=2,
        fields={"dtype": "bfloat16", "remat": "dots"},
    )
    _, seen = run(lambda _: True, request=request)
    assert {one.fields["remat"] for one in seen} == {"dots"}
    assert min(one.num_microbatches for one in seen) == 2
    assert {one.fields["dtype"] for one in seen} == {"bfloat16"}


def test_a_batch_that_no_mesh_divides_is_an_error():
    request = request_lib.Request("transformer-base", "v3:4x4", batch_size=7)
    with pytest.raises(OptionError, match="no mesh of the devices divides"):
        run(lambda _: True, request=request)
