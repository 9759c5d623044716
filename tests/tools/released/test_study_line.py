"""The line of the study that a run is in."""

import re

import numpy as np
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.released import study_line


@pytest.fixture
def study(tmp_path):
    """A study whose losses fall by 0.1 for each size."""
    sizes = list(synthetic_study.SIZES)
    losses = {
        ("transformer", size, order, order): 4.5 - 0.1 * place + 0.001 * order
        for place, size in enumerate(sizes)
        for order in (0, 1)
    }
    folder = synthetic_study.write_losses(tmp_path / "ladder", losses)
    (folder / "study.json").write_text("{}")
    return folder


def test_the_slope_is_that_of_the_report(study):
    run = study / "runs" / "transformer-pico-o0-s0"
    found = study_line.find(run, "transformer")
    assert found.name == "ladder"
    rows = synthetic_study.rows(study)
    flops = np.log10([row["training_flops"] for row in rows])
    slope = np.polyfit(flops, [row["validation_loss_nats"] for row in rows], 1)[0]
    told = float(re.search(r"gain (\d\.\d+) nats", found.text)[1])
    assert told == pytest.approx(-slope, abs=0.0006)  # Three decimals.
    assert "4 sizes" in found.text
    other = study_line.find(run, "glu")
    assert other.text == "It has too few finished runs of `glu` for a slope."


def test_a_run_outside_of_studies(tmp_path):
    assert study_line.find(tmp_path / "run", "transformer") is None


def test_a_study_that_cannot_be_read_is_said(tmp_path):
    (tmp_path / "study.json").write_text("{}")
    found = study_line.find(tmp_path / "runs" / "a", "transformer")
    assert found.text.startswith("No slope could be fitted: ")
