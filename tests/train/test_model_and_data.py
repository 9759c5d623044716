"""Tests of the dtype in which a run trains."""

import jax
import pytest

from clinometer.kernels.cpu import bfloat16
from clinometer.train import job as job_lib
from clinometer.train import model_and_data


@pytest.fixture
def warnings(monkeypatch):
    """Collects warnings about the dtype, which are given once per process."""
    said = []
    monkeypatch.setattr(
        model_and_data.logging, "warning", lambda text, *args: said.append(text % args)
    )
    model_and_data._say_float32.cache_clear()
    return said


@pytest.mark.parametrize("is_multiplied", [False, True])
def test_cpus_that_do_not_multiply_bfloat16(
    make_config, monkeypatch, warnings, is_multiplied
):
    monkeypatch.setattr(bfloat16, "is_multiplied", lambda: is_multiplied)
    dtype = "bfloat16" if is_multiplied else "float32"
    for _ in range(2):
        job = job_lib.prepare(make_config("model.dtype=bfloat16"))
        # What the checkpoint and run.json hold is what was computed.
        assert job.model.config.dtype == dtype
        assert job.config.model.dtype == dtype
        assert job.identity["model.dtype"] == dtype
        microbatched = job_lib.with_microbatches(job, 2)
        assert microbatched.model.config.dtype == dtype
    assert len(warnings) == (not is_multiplied)
    if warnings:
        assert warnings[0].startswith("config.model.dtype: this processor")
        assert "neither avx512_bf16 nor amx_bf16" in warnings[0]


def test_float32_needs_no_word(make_config, monkeypatch, warnings):
    monkeypatch.setattr(bfloat16, "is_multiplied", lambda: False)
    job = job_lib.prepare(make_config())
    assert (job.model.config.dtype, warnings) == ("float32", [])


def test_other_devices_are_not_asked(make_config, monkeypatch, warnings):
    monkeypatch.setattr(bfloat16, "is_multiplied", lambda: False)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    given = model_and_data.overrides(make_config("model.dtype=bfloat16"))
    assert (given["dtype"], warnings) == ("bfloat16", [])
