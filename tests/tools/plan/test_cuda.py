"""Tests `clinometer plan --gpu`, which needs the CUDA packages to compile."""

import importlib.metadata
import json

import pytest

from clinometer.models.counting import counts
from clinometer.tools import cli
from clinometer.tools.plan import cuda

PICO = [
    *("--models", "transformer-pico", "--batch-size", "8"),
    *("--encoder-length", "16", "--decoder-length", "8"),
]


def _missing():
    try:
        cuda.check_installed()
    except cuda.MissingError as error:
        return str(error)
    return None


def test_without_the_compiler_the_extra_is_named(monkeypatch, capsys):
    def version(package):
        raise importlib.metadata.PackageNotFoundError(package)

    monkeypatch.setattr(cuda.importlib.metadata, "version", version)
    assert cli.main(["plan", "--gpu", "h100", *PICO]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("clinometer plan: --gpu: the Python package 'jax-cuda13-")
    assert "make setup-cuda" in line and "pip install 'clinometer[cuda]'" in line


@pytest.mark.slow
@pytest.mark.skipif(_missing() is not None, reason=str(_missing()))
def test_a_step_is_compiled_without_a_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path))
    arguments = ["plan", "--gpu", "h100:2", *PICO, "--json"]
    assert cli.main(arguments) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["fits"] and not record["cached"]
    assert record["device_kind"] == "NVIDIA H100 80GB HBM3"
    assert (record["devices"], record["chips"]) == (2, 2)
    assert record["mesh"]["data"] == 2
    assert "relative_attention (forward): reference" in record["choices"]
    found = counts.count(
        "transformer-pico",
        batch_size=8,
        encoder_length=16,
        decoder_length=8,
        trace=False,
    )
    # Parameters in float32, their second moments (factored where both axes have 128
    # elements), and some hundred bytes.
    arguments_bytes = record["memory"]["argument_bytes"]
    assert 4 * found.params_total < arguments_bytes < 9 * found.params_total
    # Gradients are summed over the GPUs in bfloat16 or float32, that of the tied table
    # once for the lookups and once for the logits.
    payload = record["collectives"]["all-reduce"]["payload_bytes"]
    assert 2 * found.params_total <= payload <= 8 * found.params_total
    # Arrays of so small a model may all be in the cache: the FLOPs are the bound.
    least = found.flops_train_step / 2 / 989.4e12
    assert record["step_seconds"] == pytest.approx(least)
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out) == [record | {"cached": True}]
