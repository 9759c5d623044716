"""Tests of `clinometer compare` on written run directories."""

import json

import numpy as np
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools import cli
from clinometer.train.run import directory as run_directory
from clinometer.train.run import validation_rows


@pytest.fixture
def runs(tmp_path):
    """Two runs whose losses differ by 0.5 nats per token, on 40 rows of 10 tokens."""
    rng = np.random.default_rng(0)
    shared = rng.normal(40, 5, 40)
    paths = []
    for size, shift in (("pico", 5.0), ("nano", 0.0)):
        path = tmp_path / f"transformer-{size}-s0"
        synthetic_study.write_run(path, synthetic_study.record(size))
        run_directory.RunDirectory(path).write_validation_rows(
            validation_rows.ValidationRows(
                600,
                np.arange(40, dtype=np.uint64),
                shared + shift + rng.normal(0, 0.5, 40),
                np.full(40, 10),
            )
        )
        paths.append(str(path))
    return paths


def test_the_difference_and_what_it_is_not(runs, capsys):
    assert cli.main(["compare", *runs, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["runs"] == runs and found["steps"] == [600, 600]
    low, high = found["interval"]
    assert low < found["difference"] < high
    # Within 4 standard errors, each 0.5 sqrt(2) / 10 / sqrt(40) = 0.011.
    assert found["difference"] == pytest.approx(0.5, abs=0.04)
    assert 0.03 < high - low < 0.06
    assert cli.main(["compare", *runs]) == 0
    text = capsys.readouterr().out
    assert f"difference {found['difference']:+.4f} nats per token" in text
    assert "(40 rows, 10,000 paired resamples)" in text
    assert "does not compare architectures" in text


def test_what_cannot_be_compared_is_said(runs, tmp_path, capsys):
    def refused(*paths, code=1):
        assert cli.main(["compare", *map(str, paths)]) == code
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1 and said.startswith("clinometer compare: ")
        return said

    one, other = runs
    assert "are the same run" in refused(one, one + "/.", code=2)
    assert "is not a run directory" in refused(one, tmp_path / "nowhere")
    directory = run_directory.RunDirectory(other)
    rows = directory.validation_rows()
    directory.write_validation_rows(
        validation_rows.ValidationRows(
            600, rows.digests + np.uint64(20), rows.losses, rows.targets
        )
    )
    said = refused(one, other)
    assert f"{one} and {other}: evaluated on different rows" in said
    assert "of which 20 are the same" in said
    path = directory.path / validation_rows.FILE_NAME
    path.write_bytes(b"damaged")
    assert f"{path}: cannot be read" in refused(one, other)
    path.unlink()
    assert f"{other} has no validation_rows.npz" in refused(one, other)
