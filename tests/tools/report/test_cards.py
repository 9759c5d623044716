"""Tests what is said beside marks."""

from clinometer.tools.report import cards


def test_cards_name_models_runs_and_architectures(several):
    _, tables = several
    found = cards.make(tables)
    (model,) = (m for m in tables["models"] if m["key"] == "glu-nano")
    title, *lines = found["models"]["glu-nano"]
    assert title == "GLU, nano"
    assert dict(lines)["loss"].startswith(f"{model['loss']:.3f} [")
    assert dict(lines)["loss"].endswith("2 of 2 runs")
    assert dict(lines)["RTE"] == f"{model['score']:.1f} %"
    assert found["runs"]["mixer-failed"][-1][1].startswith("failed at step")
    assert dict(found["archs"]["mixer"][1:])["outcome"] == "gains less"
