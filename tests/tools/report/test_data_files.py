"""Tests the data beside a page."""

import importlib.util

import pandas as pd
import pytest

from clinometer.kernels.options import errors
from clinometer.tools.report import data_files


def test_tables_are_written_in_full_precision(several, tmp_path):
    sources, tables = several
    data_files.write(tmp_path, sources, tables, parquet=False)
    frame = pd.read_csv(tmp_path / "data" / "models.csv")
    assert list(frame["key"]) == [model["key"] for model in tables["models"]]
    assert list(frame["loss"]) == [model["loss"] for model in tables["models"]]
    lines = pd.read_csv(tmp_path / "data" / "variants.csv")
    slopes = [v.slope for fit in sources.fits for v in fit.variants]
    assert list(lines["slope"]) == slopes and len(set(lines["cost"])) == 6


def test_parquet_needs_its_extra(several, tmp_path, monkeypatch):
    sources, tables = several
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.OptionError, match=r"clinometer\[parquet\]"):
        data_files.write(tmp_path, sources, tables, parquet=True)
    assert list(tmp_path.iterdir()) == []


def test_parquet_has_the_rows_of_the_csv(several, tmp_path):
    pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra parquet")
    data_files.write(tmp_path, *several, parquet=True)
    frame = pd.read_parquet(tmp_path / "runs.parquet")
    assert list(frame["run"]) == [row["run"] for row in several[0].rows]
