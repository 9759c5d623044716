"""Tests that the order of the data is a matter of `data.order` alone."""

import itertools

import numpy as np

from clinometer import models
from clinometer.data.pretraining import batches as batches_lib
from clinometer.train import sources


def _first(config, number=3):
    batches = sources.pretraining(config).batches
    return [batches.batch(step) for step in range(number)]


def _equal(one, other):
    return all(
        np.array_equal(a[key], b[key])
        for a, b in zip(one, other, strict=True)
        for key in a
    )


def test_order_and_seed_are_apart(make_config):
    usual = _first(make_config())
    assert _equal(usual, _first(make_config("seed=7")))
    orders = [usual, *(_first(make_config(f"data.order={k}")) for k in (1, 2))]
    assert not any(_equal(*pair) for pair in itertools.combinations(orders, 2))


def test_orders_are_the_seeds_of_the_batches(make_config, store):
    opened = sources.open_store(str(store))
    for order, overrides in ((0, ()), (5, ("data.order=5",))):
        expected = batches_lib.PretrainBatches(
            opened,
            make_batch=models.batch.make,
            batch_size=4,
            encoder_length=32,
            seed=order,
        )
        expected = [expected.batch(step) for step in range(3)]
        assert _equal(expected, _first(make_config(*overrides)))


def test_evaluation_is_the_same_in_every_order(make_config):
    one, other = (
        list(sources.pretraining(make_config(f"data.order={k}")).eval_batches)
        for k in (0, 1)
    )
    assert _equal(one, other)
