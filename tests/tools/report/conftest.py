"""Fixtures of reports' tests."""

import numpy as np
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import study_figures
from clinometer.tools.report.tables import study_tables


@pytest.fixture
def without_figures(monkeypatch):
    """Makes reports without figures, which take the time."""
    empty = dict.fromkeys(study_figures.PLACES, ())
    monkeypatch.setattr(study_figures, "make", lambda tables: empty)


@pytest.fixture(scope="session")
def several(tmp_path_factory):
    """Sources and tables of three architectures at four sizes, fine-tuned.

    glu gains as much as transformer from a lower loss; mixer gains less. Two runs of
    each model differ by noise. A run of mixer failed.
    """
    folder = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    falls = {"transformer": (4.5, 0.1), "glu": (4.46, 0.1), "mixer": (4.5, 0.02)}
    losses = {
        (name, size, order, order): start - fall * i + 0.004 * rng.normal()
        for name, (start, fall) in falls.items()
        for i, size in enumerate(synthetic_study.SIZES)
        for order in (1, 2)
    }
    synthetic_study.write_losses(folder, losses)
    failed = synthetic_study.record(
        "nano", 3, "mixer", "failed", error="the loss is nan", config__data={"order": 3}
    )
    synthetic_study.write_run(folder / "runs" / "mixer-failed", failed)
    for (name, size, order, seed), loss in losses.items():
        run = folder / "runs" / f"{name}-{size}-o{order}-s{seed}"
        scores = {"rte": (60 + 20 * (4.5 - loss) + order, 2.0)}
        synthetic_study.write_finetuning(run, scores, seed=order)
        if (name, order) == ("glu", 1):
            early = {"rte": (50.0, 2.0)}
            synthetic_study.write_finetuning(run, early, "early", step=300)
    sources = build.read(folder)
    return sources, study_tables.make(sources)
