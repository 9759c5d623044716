"""Tests designs, costs, curves and margins against counts and fits of their own."""

import numpy as np
import pytest
from scipy import optimize

from clinometer.tests.tools.inference import studies
from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.power import example_pilot
from clinometer.tools.study import options as options_lib
from clinometer.tools.study.power import inputs
from clinometer.train import errors

_LADDER = "--sizes=DM16-NH1-FF64-PI pico DM64-NH4-FF256-PI milli"


def _make(*argv):
    options = options_lib.parse(["--power", *argv])
    return inputs.make(options, options.study.runs)


def test_the_first_study_s_design_and_costs():
    made = _make("--archs=transformer mos", _LADDER, "--config.design.orders=(6,2,1,3)")
    assert made.reference == "transformer"
    assert made.design.orders == ("1", "2", "3", "4", "5", "6")
    np.testing.assert_array_equal(made.design.counts, [6, 2, 1, 3] * 2)
    for name in ("transformer", "mos"):
        costs = made.design.flops_of(made.design.cells_of(name))
        np.testing.assert_allclose(costs, studies.FLOPS[name], rtol=5e-4)
    shorter = _make("--steps=300", _LADDER)
    costs = shorter.design.flops_of(shorter.design.cells_of("transformer"))
    expected = np.array(studies.FLOPS["transformer"]) / 10
    np.testing.assert_allclose(costs, expected, rtol=5e-4)


def test_seeds_are_initialisations_in_one_order():
    argv = ("--seeds=0 1", "--replicate=2 3")
    made = _make("--archs=glu", "--config.design.orders=()", *argv)
    assert made.reference is None and len(made.design.orders) == 1
    np.testing.assert_array_equal(made.design.counts, [4, 2, 2, 2])


def test_the_curve_is_a_power_law_through_the_losses():
    made = _make(_LADDER)
    costs = np.array(studies.FLOPS["transformer"])

    def law(x, floor, coefficient, exponent):
        return floor + coefficient * (x / costs[0]) ** -exponent

    best, _ = optimize.curve_fit(law, costs, studies.TUNED, p0=(4.1, 0.3, 0.5))
    new = np.array([*costs, 2.34e13])
    np.testing.assert_allclose(made.curve(new), law(new, *best), atol=2e-4)
    gain = law(costs[0], *best) - law(costs[-1], *best)
    np.testing.assert_allclose(made.margin, 0.1 * gain, rtol=2e-3)
    assert f"it gains {gain:.3f} nats" in made.told[1]
    assert made.told[-1].startswith("margin: 0.0271 nats, 10 % of the curve's gain")
    assert _make("--config.design.margin=0.04").margin == 0.04
    options = options_lib.parse(["--power"])
    assert inputs.make(options, options.study.runs, 0.05).margin == 0.05


def test_the_sd_is_that_of_the_middle():
    made = _make(
        _LADDER,
        "--config.power.sd=0.02",
        "--config.power.sd_slope=-0.5",
        "--config.power.order_sd=0.01",
        "--config.power.held_out=transformer-DM256-NH16-FF1024-PI",
    )
    expected = {w: 0.02 * (w / np.sqrt(16 * 128)) ** -0.25 for w in studies.WIDTHS}
    expected[256] = 0.02 * (256 / np.sqrt(16 * 128)) ** -0.25
    assert set(made.sd) == set(expected)
    for width, sd in expected.items():
        np.testing.assert_allclose(made.sd[width], sd)
    assert made.order_sd == 0.01
    assert (made.held_out.width, made.held_out.runs) == (256, 2)
    np.testing.assert_allclose(made.held_out.flops, 2.338e13, rtol=1e-3)


def test_a_pilot_gives_spread_curve_and_margin(tmp_path):
    folder = example_pilot.write(tmp_path)
    made = _make("--power-from", str(folder), *example_pilot.PROTOCOL, _LADDER)
    means = [
        np.mean([x for key, x in example_pilot.LOSSES.items() if key[0] == size])
        for size in ("pico", "milli")
    ]
    np.testing.assert_allclose(made.margin, 0.1 * (means[0] - means[1]))
    assert len(set(made.sd.values())) == 1
    assert f"sd: {made.sd[32]:.4f} nats of a run" in "\n".join(made.told)
    # The shape of the default curve, shifted and scaled to the pilot's two sizes.
    plain = _make(_LADDER, *example_pilot.PROTOCOL)
    ends = np.array(  # Of the records, which are not the models' own counts.
        [
            600 * synthetic_study.record(size)["counts"]["flops_train_step"]
            for size in ("pico", "milli")
        ]
    )
    np.testing.assert_allclose(made.curve(ends), means)
    between = np.array([ends[0], np.sqrt(ends.prod()), ends[1]])
    shapes = [c(between) for c in (made.curve, plain.curve)]
    np.testing.assert_allclose(*((s - s[-1]) / (s[0] - s[-1]) for s in shapes))
    given = _make(
        f"--config.power.pilot={folder}",
        *example_pilot.PROTOCOL,
        "--config.design.margin=0.05",
    )
    assert given.margin == 0.05 and given.order_sd == made.order_sd > 0


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--config.power.losses=(4.4, 4.3, 4.2)"], "got 3 losses for 4 models"),
        (
            [
                "--config.power.models=('transformer-pico', 'transformer-milli')",
                "--config.power.losses=(4.3, 4.1)",
            ],
            "config.power.models: a power law .* needs 4 or more",
        ),
        (
            ["--config.power.losses=(4.1, 4.2, 4.3, 4.4)"],
            "config.power.models: the dearest model's loss is not below",
        ),
        (["--sizes=pico"], "config.design.margin: must be given, since the curve's"),
        (["--config.power.held_out=glu-milli"], "accepted: a size of transformer"),
        (["--config.power.held_out=nothing"], "config.power.held_out: nothing"),
    ],
)
def test_unusable_fields_are_named(argv, words):
    with pytest.raises(errors.ConfigError, match=words):
        _make(*argv)


def test_two_models_of_one_width_are_cells_of_their_own():
    made = _make("--sizes=pico NL4-pico milli")
    assert [cell.name for cell in made.design.cells] == ["pico", "NL4-pico", "d128"]
