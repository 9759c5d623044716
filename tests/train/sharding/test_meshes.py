"""Tests that a run does not depend on its mesh: eight devices against one.

The bounds on the first step are some units in the last place of float32 (6e-8), as sums
over examples and widths are in another order. Later steps are compared with how far
one device's own run diverges when all parameters change by one unit in the last place.
So are gradients beyond the bound: some are sums of terms that nearly cancel, and where
such a change takes a ReLU past zero, the gradient jumps, and runs diverge a thousand
times as far as without. The farthest of nine such runs counts.
"""

import statistics

import pytest

from clinometer import models
from clinometer.tests.train.sharding import eight_devices

_FIRST = 1e-6
_FIRST_TIMES_OWN, _TIMES_OWN = 2, 10
_MESHES = {
    "data 8": (8, 1, 1, 1),
    "data 4, model 2": (4, 1, 1, 2),
    "data 2, fsdp 2, model 2": (2, 2, 1, 2),
}
_EXPERTS = (2, 1, 4, 1)
_FORMS = {
    "loop": {},
    "scan": {"scan_layers": True},
    "scan and remat": {"scan_layers": True, "remat": "layer"},
}


def _case(name, meshes, overrides=None, **options):
    """Returns a case of a model that fits the meshes."""
    fitting = eight_devices.FITTING.get(name.split("-")[0], {})
    return eight_devices.Case(name, meshes, fitting | (overrides or {}), **options)


def _check(case, record=lambda name, value: None):
    """Runs a case and checks each of its meshes."""
    (result,) = eight_devices.run([case])
    own, farthest = result["own_gradients"], max(result["own"])
    record("one ulp", _numbers(result["own_gradient"], result["own"]))
    for sizes, found in zip(case.meshes, result["meshes"], strict=True):
        beyond = [
            f"{name} {error:.1e} (one ulp {own[name]:.1e})"
            for name, error in sorted(found["gradients"].items())
            if error >= _FIRST
        ]
        numbers = _numbers(found["gradient"], [found["last"]])
        record(f"{sizes}", ", ".join([numbers, *beyond]))
        assert found["loss"] < _FIRST, (sizes, result)
        most = max(_FIRST, _FIRST_TIMES_OWN * result["own_gradient"])
        assert found["gradient"] < most, (sizes, result)
        for name, error in found["gradients"].items():
            most = max(_FIRST, _FIRST_TIMES_OWN * own[name])
            assert error < most, (sizes, name, result)
        assert found["last"] < _TIMES_OWN * farthest, (sizes, result)
        assert result["drawn"] > 0 and found["masks"], (sizes, result)
        assert found["parts"] >= sizes[1] * sizes[3] > 0


def _numbers(gradient, last):
    typical = f"gradient {gradient:.1e}, parameters {statistics.median(last):.1e}"
    return typical + (f" to {max(last):.1e}" if len(last) > 1 else "")


@pytest.mark.parametrize("name", ["transformer-NL1-PI", "switch-pico", "lconv-NL1-PI"])
def test_two_by_two_by_two(name):
    _check(_case(name, [(2, 2, 1, 2)], steps=2))


@pytest.mark.slow
def test_experts_over_axes_of_the_batch():
    _check(_case("switch-pico", [_EXPERTS, (1, 2, 2, 2)]))


@pytest.mark.slow
def test_images():
    name, dropout = "vit-NL2-DM32-NH4-KV8-FF64-S", {"dropout_rate": 0.1}
    _check(_case(name, [*_MESHES.values()], dropout))


@pytest.mark.matrix
@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_every_architecture_on_every_mesh(name, form, record_property):
    meshes = [*_MESHES.values(), *([_EXPERTS] if name == "switch" else [])]
    _check(_case(f"{name}-pico", meshes, _FORMS[form]), record_property)


@pytest.mark.matrix
@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_microbatches_with_dropout(name, record_property):
    """Masks depend on the microbatch, not on the mesh."""
    case = _case(
        f"{name}-pico",
        [(8, 1, 1, 1), (2, 2, 1, 2)],
        {"dropout_rate": 0.1},
        num_microbatches=2,
        batch_size=16,
    )
    _check(case, record_property)


@pytest.mark.slow
def test_another_result_would_be_seen():
    """Other microbatches have other masks and so other gradients."""
    (one, two) = eight_devices.run(
        [
            eight_devices.Case("transformer-pico", [], num_microbatches=n, steps=0)
            for n in (1, 2)
        ]
    )
    assert one["drawn"] < two["drawn"]
