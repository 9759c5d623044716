"""Tests the cache of compiled steps."""

import dataclasses

from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import step_cache
from clinometer.tools.plan.kernel_cost import KernelCost

ENTRY = dataclasses.replace(
    compiled.step().entry, kernels={"attention.1": KernelCost(303, 2**17)}
)


def test_an_entry_is_read_as_it_was_written(tmp_path):
    place = tmp_path / "plan"
    assert step_cache.load(place, "key") is None
    step_cache.save(place, "key", ENTRY)
    assert step_cache.load(place, "key") == ENTRY
    assert step_cache.load(place, "other") is None


def test_so_is_a_rejection(tmp_path):
    entry = compiled.step(reason="out of memory").entry
    step_cache.save(tmp_path, "key", entry)
    assert step_cache.load(tmp_path, "key") == entry


def test_a_damaged_entry_is_none(tmp_path):
    step_cache.save(tmp_path, "key", ENTRY)
    (path,) = tmp_path.iterdir()
    for content in (path.read_bytes()[:-9], b"", b"no entry"):
        path.write_bytes(content)
        assert step_cache.load(tmp_path, "key") is None


def test_the_memory_is_the_sum_of_its_parts():
    assert step_cache.Memory(1, 20, 300).total_bytes == 321
