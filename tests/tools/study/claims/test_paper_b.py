"""Tests the second paper's claims on runs for which they are true, false and open."""

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.results import published
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import paper_b
from clinometer.tools.study.claims import papers

_SUPPORTED = claim_lib.Outcome.SUPPORTED
_CONTRADICTED = claim_lib.Outcome.CONTRADICTED
_UNDECIDED = claim_lib.Outcome.UNDECIDED


def _rows(models, noise=0.05, replicates=2):
    """Rows of models as (model, parameters, multiply-adds, loss, score)."""
    return [
        {
            "run": f"{model}-{k}",
            "model": model,
            "seed": k,
            "params_total": params,
            "papers_macs_forward_batch": macs,
            "validation_loss_nats": loss + 0.001 * (-1) ** k,
            "score_superglue": score + noise * (-1) ** k,
        }
        for model, params, macs, loss, score in models
        for k in range(replicates)
    ]


def _judged(rows, name):
    (claim,) = (c for c in paper_b.CLAIMS if c.name == name)
    (found,) = papers.judge_all([claim], papers.evidence(ladders.frame(rows)))
    return found.verdict


@pytest.mark.parametrize(
    "second, replicates, outcome",
    [
        ((2.0, 60.0), 2, _SUPPORTED),  # Lower loss, lower score.
        ((2.0, 75.0), 2, _CONTRADICTED),
        ((2.0, 70.05), 2, _UNDECIDED),
        ((2.0, 60.0), 1, _UNDECIDED),
    ],
)
def test_ranks_differ(second, replicates, outcome):
    models = [
        ("transformer-small", 6e7, 4e12, 2.2, 70.0),
        ("transformer-base", 2e8, 1e13, *second),
    ]
    assert _judged(_rows(models, 0.05, replicates), "ranks_differ").outcome is outcome


@pytest.mark.parametrize(
    "score, noise, outcome",
    [
        (73.0, 0.05, _SUPPORTED),
        (70.0, 0.05, _CONTRADICTED),
        (70.0, 2.0, _UNDECIDED),
    ],
)
def test_shape_matters(score, noise, outcome):
    models = [
        ("transformer-base", 2.2e8, 1e13, 1.75, 70.0),
        ("transformer-NL28-SM", 2.21e8, 1e13, 1.77, score),
        ("transformer-large", 7e8, 3e13, 1.6, 76.0),
    ]
    assert _judged(_rows(models, noise), "shape_matters").outcome is outcome
    assert "no two shapes" in _judged(_rows(models[1:]), "shape_matters").reason


@pytest.mark.parametrize(
    "deepest, outcome", [(75.2, _SUPPORTED), (81.0, _CONTRADICTED)]
)
def test_depth_fades(deepest, outcome):
    models = [
        ("transformer-small", 6e7, 4e12, 2.0, 65.0),
        ("transformer-NL12-SM", 1e8, 6e12, 1.9, 70.0),
        ("transformer-NL24-SM", 2e8, 1e13, 1.8, 75.0),
        ("transformer-NL36-SM", 3e8, 1.5e13, 1.7, deepest),
    ]
    assert _judged(_rows(models), "depth_fades").outcome is outcome
    assert "no depths" in _judged(_rows(models[:3]), "depth_fades").reason


@pytest.mark.parametrize("score, outcome", [(71.1, _SUPPORTED), (68.0, _CONTRADICTED)])
def test_deep_narrow_dominates(score, outcome):
    models = [
        ("transformer-base", 2.2e8, 1.1e13, 1.75, 69.8),
        ("transformer-NL24-SM", 1.9e8, 1.0e13, 1.78, score),
    ]
    assert _judged(_rows(models), "deep_narrow_dominates").outcome is outcome
    # One that costs more is no rival.
    dearer = [models[0], ("transformer-NL40-SM", 3e8, 1.6e13, 1.7, 75.0)]
    reason = _judged(_rows(dearer), "deep_narrow_dominates").reason
    assert "no deeper, narrower" in reason


def test_numbers_of_the_published_rows():
    judged = {
        one.claim.name: one.verdict
        for one in papers.judge_all(
            paper_b.CLAIMS, papers.evidence(published.of_table(4))
        )
    }
    numbers = judged["deep_narrow_dominates"].numbers
    name = "transformer-NL24-SM less transformer-base"
    assert numbers[name] == pytest.approx(71.11 - 69.80)
    assert numbers["transformer-NL36-LG less transformer-xl"] == pytest.approx(1.35)
    assert judged["ranks_differ"].numbers["pairs"] == 14 * 13 / 2
    assert judged["ranks_differ"].numbers["ordered otherwise"] > 0
