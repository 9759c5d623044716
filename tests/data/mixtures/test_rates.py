"""Mixtures: names, rates by examples, and an exact order."""

import collections
import fractions
import math

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.mixtures import aggregates
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.tasks import registry

# Each is compared with T5's in tests/data/tasks/test_registry.py.
EXAMPLES = {
    name: registry.get(name).train_examples
    for name in mixtures.MIXTURES["glue_superglue_squad"]
}
KNOWN = [name for names in mixtures.MIXTURES.values() for name in names] + ["dpr"]


def test_all_tasks_of_mixtures_and_averages_are_there():
    named = {*mixtures.MIXTURES.values(), *aggregates.AVERAGES.values()}
    assert {name for names in named for name in names} <= set(registry.names())
    for benchmark, names in registry.benchmarks().items():
        if benchmark in aggregates.AVERAGES:
            assert sorted(names) == sorted(aggregates.AVERAGES[benchmark])


def _components(interleaving, size):
    return [interleaving.locate(index)[0] for index in range(size)]


def test_named_mixtures():
    assert len(mixtures.expand("glue_superglue_squad", KNOWN)) == 17
    assert len(mixtures.expand("glue", KNOWN)) == 8
    assert len(mixtures.expand("superglue", KNOWN)) == 8
    assert len(mixtures.expand("rainbow", KNOWN)) == 6
    assert mixtures.expand("cola", KNOWN) == {"cola": None}
    assert [*mixtures.expand(" dpr, superglue ", KNOWN)][:2] == ["dpr", "boolq"]
    assert [*mixtures.expand(("rte", "cola"), KNOWN)] == ["rte", "cola"]
    own = mixtures.expand("my/task.py:one=7,cola", KNOWN)
    assert own == {"my/task.py:one": 7, "cola": None}
    with_rate = mixtures.expand("cola,rte=0.5,wsc=1/3", KNOWN)
    assert with_rate == {"cola": None, "rte": 0.5, "wsc": fractions.Fraction(1, 3)}


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        ("", "mixture is empty"),
        (",", "mixture is empty"),
        ("gleu", r"No task or mixture 'gleu' \(did you mean 'glue'\?\)"),
        ("cola,sst", r"did you mean 'sst2'\?"),
        ("glue,cola", "task 'cola' twice"),
        ("cola=0", "'cola' of the mixture has the rate 0; accepted is a number above"),
        ("cola=-1", "has the rate -1"),
        ("cola=many", "has the rate many"),
        ("cola=1e31", "has the rate 1000"),
        ("cola=1/0", "has the rate 1/0"),
        ("cola=nan", "has the rate nan"),
        ("cola=inf", "has the rate inf"),
        ("cola=1e999999999", "has the rate 1e999999999"),  # Must not be written out.
        ("cola=1e9_9_9_9_9_9_9", "has the rate 1e9_9_9_9"),
        ("cola=1e-999", "has the rate 1e-999"),
        ("cola=" + "9" * 5000, "has the rate 99999"),
        ("glue=3", "glue is a mixture"),
    ],
)
def test_bad_mixtures(mixture, message):
    with pytest.raises(DataError, match=message):
        mixtures.expand(mixture, KNOWN)


def test_rates_are_examples_with_limit_and_temperature():
    examples = {"small": 100, "large": 40_000}
    assert mixtures.proportional(examples) == examples
    limited = mixtures.proportional(examples, limit=10_000)
    assert limited == {"small": 100, "large": 10_000}
    rates = mixtures.proportional(examples, limit=10_000, temperature=2)
    assert rates == pytest.approx({"small": 10, "large": 100})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"examples": {"a": 1, "b": 0}}, "Task 'b' of the mixture has the rate 0"),
        ({"examples": {"a": 1}, "limit": 0}, "limit is 0; accepted is 1 or more"),
        ({"examples": {"a": 1}, "temperature": 0}, "temperature is 0; accepted is"),
        ({"examples": {"a": 9}, "temperature": 1e-5}, "temperature 1e-05 is too small"),
        ({"examples": {"a": 9}, "temperature": math.nan}, "temperature is nan"),
    ],
)
def test_bad_rates(arguments, message):
    with pytest.raises(DataError, match=message):
        mixtures.proportional(**arguments)


def test_the_order_of_a_small_mixture_by_hand():
    # a is due at 1/6, 3/6, 5/6 of the period and b at 1/2: together with a's second.
    made = mixtures.Interleaving({"a": 3, "b": 1}, {"a": 5, "b": 2}, seed=0)
    assert made.period == 4
    assert _components(made, 8) == ["a", "a", "b", "a"] * 2


def test_every_period_holds_exactly_the_rates():
    made = mixtures.Interleaving(EXAMPLES, EXAMPLES, seed=0)
    assert made.period == sum(EXAMPLES.values()) == 1_221_051
    assert made.slots == EXAMPLES
    counted = np.bincount(made._component)
    assert dict(zip(made.names, counted.tolist())) == EXAMPLES


def test_any_stretch_has_nearly_the_rates():
    rates = {"a": 700, "b": 290, "c": 10}
    made = mixtures.Interleaving(rates, rates, seed=0)
    assert made.period == 100
    components = np.array(_components(made, 500))
    for name, rate in rates.items():
        seen = np.cumsum(components == name)
        expected = rate / 1000 * np.arange(1, 501)
        assert np.abs(seen - expected).max() <= 1.0


def test_a_component_is_seen_whole_and_in_a_new_order_in_each_epoch():
    made = mixtures.Interleaving({"a": 2, "b": 1}, {"a": 7, "b": 50}, seed=3)
    items = [item for name, item in map(made.locate, range(63)) if name == "a"]
    epochs = [tuple(items[k : k + 7]) for k in range(0, 42, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) == 6
    assert made.epochs(63) == {"a": 6.0, "b": 21 / 50}
    seen = collections.Counter(name for name, _ in map(made.locate, range(40)))
    assert made.epochs(40) == {"a": seen["a"] / 7, "b": seen["b"] / 50}


def test_the_order_depends_on_seed_and_name_and_nothing_else():
    sizes = {"a": 20, "b": 20}

    def items(name, rates=sizes, seed=0):
        made = mixtures.Interleaving(rates, sizes, seed)
        found = (made.locate(index) for index in range(100))
        return [item for component, item in found if component == name][:20]

    assert items("a") == items("a")
    assert items("a") != items("a", seed=1)
    assert items("a") != items("b")
    # Additional tasks or other rates do not change the order of a task's examples.
    assert items("a") == items("a", rates={"a": 1}) == items("a", {"b": 1, "a": 3})


def test_fractions_are_exact_and_roots_nearly_so():
    third = {"a": fractions.Fraction(1, 3), "b": fractions.Fraction(1, 6), "c": 0.5}
    made = mixtures.Interleaving(third, dict.fromkeys(third, 9), seed=0)
    assert made.slots == {"a": 2, "b": 1, "c": 3}
    rates = mixtures.proportional({"a": 250, "b": 392_702}, temperature=2)
    made = mixtures.Interleaving(rates, {"a": 250, "b": 9}, seed=0)
    share = 250**0.5 / (250**0.5 + 392_702**0.5)
    assert made.slots["a"] / made.period == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize(
    ("rates", "sizes", "message"),
    [
        ({}, {}, "at least one task"),
        ({"a": 1, "b": 0}, {"a": 1, "b": 1}, "Task 'b' of the mixture has the rate 0"),
        ({"a": 1.5, "b": float("nan")}, {"a": 1, "b": 1}, "has the rate nan"),
        ({"a": 1, "b": 2}, {"a": 3, "b": 0}, "Task 'b' of the mixture has no example"),
        ({"a": 1, "b": 2}, {"a": 3}, "Task 'b' of the mixture has no example"),
        ({"a": 1, "b": 1e8}, {"a": 3, "b": 3}, "'a' has less than one in 4,194,304"),
    ],
)
def test_bad_interleavings(rates, sizes, message):
    with pytest.raises(DataError, match=message):
        mixtures.Interleaving(rates, sizes, seed=0)
