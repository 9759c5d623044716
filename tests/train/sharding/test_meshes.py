"""Tests that a run does not depend on its mesh: eight devices against one.

The bounds on the first step are some units in the last place of float32 (6e-8), as sums
over examples and widths are in another order. Where the terms of a parameter's gradient
nearly cancel, its relative error is larger. It is then compared, as are later steps,
with how far one device's own run diverges after a change of one unit in the last place.
"""

import pytest

from clinometer import models
from clinometer.tests.train.sharding import eight_devices

_FIRST = 1e-6
_TIMES_OWN = 10
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
    record("one ulp", f"{result['own']:.1e}")
    for sizes, found in zip(case.meshes, result["meshes"], strict=True):
        own = result["own_gradients"]
        beyond = {
            f"{name} {error:.1e} (one ulp {own[name]:.1e})"
            for name, error in found["gradients"].items()
            if error >= _FIRST
        }
        record(
            f"{sizes}",
            ", ".join([f"{found['gradient']:.1e}", *sorted(beyond)])
            + f", then {found['last']:.1e}",
        )
        assert found["loss"] < _FIRST, (sizes, result)
        assert found["gradient"] < _FIRST, (sizes, result)
        for name, error in found["gradients"].items():
            assert error < max(_FIRST, _TIMES_OWN * own[name]), (sizes, name, result)
        assert found["last"] < _TIMES_OWN * result["own"], (sizes, result)
        assert result["drawn"] > 0 and found["masks"], (sizes, result)
        assert found["parts"] >= sizes[1] * sizes[3] > 0


@pytest.mark.parametrize("name", ["transformer-NL1-PI", "switch-pico", "lconv-NL1-PI"])
def test_two_by_two_by_two(name):
    _check(_case(name, [(2, 2, 1, 2)], steps=2))


@pytest.mark.slow
def test_experts_over_axes_of_the_batch():
    _check(_case("switch-pico", [_EXPERTS, (1, 2, 2, 2)]))


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
