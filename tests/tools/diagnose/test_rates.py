"""Tests of the check against the table of tuned rates."""

import dataclasses
import math

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools.diagnose import finding
from clinometer.tools.diagnose import rates
from clinometer.tools.diagnose import telemetry
from clinometer.tools.study import protocol
from clinometer.tools.study.tuning import table as table_lib


@pytest.fixture
def table():
    """Widths 16 and 256, whose tuned rates are 0.04 and 0.01; a curvature of 0.3."""
    size = table_lib.Size(
        width=16,
        model="transformer-DM16-NH1-FF64-PI",
        rate=0.04,
        losses=(),
        interior=True,
        vertex=None,
        cliff=None,
        remarks=(),
    )
    entry = table_lib.Entry(
        architecture="transformer",
        layers=(2, 2),
        settings=protocol.Protocol().rate_settings(),
        corpus_hash="c",
        vocabulary_sha256="v",
        seed=1,
        curvature=0.3,
        curvature_error=0.1,
        spread=0.02,
        sizes=(size, dataclasses.replace(size, width=256, rate=0.01, cliff=0.018)),
        check=None,
        measured={},
    )
    return table_lib.Table(entries=(entry,))


def read(tmp_path, rate, model="transformer-DM64-NH4-FF256-PI", **fields):
    """Reads a run with the protocol of studies; with model=None, of width 16."""
    nested = {"model": {"name": model, "vocab_size": 2048}}
    for name, value in protocol.Protocol().rate_settings().items():
        place, _, field = name.rpartition(".")
        (nested.setdefault(place, {}) if place else nested)[field] = value
    nested["schedule"]["learning_rate"] = rate
    nested["optimizer"]["name"] = "adafactor"
    fields = {"config": nested | fields.pop("config", {}), **fields}
    return telemetry.read(written.write(tmp_path / "run", None, **fields))


# With K = 0.3, three spreads of 0.02 are lost at ln(ratio) = sqrt(2 x 0.06 / 0.3).
_LIMIT = math.exp(math.sqrt(0.4))


@pytest.mark.parametrize(
    ("ratio", "says"),
    [
        (1.0, None),
        (_LIMIT * 0.98, None),
        (1 / _LIMIT * 1.02, None),
        (_LIMIT * 1.02, "too high: 1.92 times"),
        (1 / _LIMIT * 0.98, "too low: 0.521 times"),
        (500, "too high: 500 times"),
    ],
)
def test_rates_between_the_swept_widths(tmp_path, table, ratio, says):
    """Halfway between the widths in logarithms, the rate is sqrt(0.04 x 0.01)."""
    found = rates.rate(read(tmp_path, 0.02 * ratio), table)
    assert len(found) == (says is not None)
    for each in found:
        assert says in each.what and each.step == 0
        assert each.evidence["tuned rate"] == pytest.approx(0.02)
        cost = 0.15 * math.log(ratio) ** 2
        assert each.evidence["nats that it costs by the parabola"] == pytest.approx(
            cost
        )
        assert each.advice == "--config.schedule.learning_rate=0.02"


@pytest.mark.parametrize(("rate", "found"), [(0.0125, True), (0.0115, False)])
def test_rates_near_a_cliff(tmp_path, table, rate, found):
    """The cliff of width 256 begins at 0.018, 1.5 times 0.012."""
    run = read(tmp_path, rate, model="transformer-DM256-NH8-FF1K-PI")
    assert bool(rates.rate(run, table)) == found


@pytest.mark.parametrize(("ratio", "found"), [(2.1, True), (0.45, True), (1.9, False)])
def test_a_curvature_that_is_not_known_leaves_the_grid(tmp_path, table, ratio, found):
    entry = dataclasses.replace(table.entries[0], curvature_error=None)
    table = dataclasses.replace(table, entries=(entry,))
    assert bool(rates.rate(read(tmp_path, 0.02 * ratio), table)) == found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": "finetuning"}, "rates of pretraining on text"),
        ({"model": "glu-DM64-NH4-FF256-PI"}, "it has no glu"),
        ({"model": "transformer-DM512-NH8-FF2K-PI"}, "it has widths 16, 256, and this"),
        ({"config": {"train_steps": 50}}, "train_steps = 3000, and this is 50"),
        ({"config": {"optimizer": {"name": "adamw"}}}, "not adamw"),
    ],
)
def test_runs_for_which_the_table_has_no_rate(tmp_path, table, changes, why):
    with pytest.raises(finding.NotCheckedError, match=why):
        rates.rate(read(tmp_path, 0.02, **changes), table)


def test_the_table_of_the_study_comes_first(tmp_path):
    run = tmp_path / "study" / "sweep" / "runs" / "one"
    assert rates.table_of(run) == table_lib.SHIPPED
    own = tmp_path / "study" / "rates.json"
    own.parent.mkdir()
    own.touch()
    assert rates.table_of(run) == own
    assert rates.table_of(tmp_path / "study" / "runs" / "one") == own
