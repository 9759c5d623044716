"""Tests the first paper's claims on runs for which they are true, false and open."""

import math

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.fit import errors
from clinometer.tools.laws import alphas
from clinometer.tools.laws import summary
from clinometer.tools.results import published
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import paper_a
from clinometer.tools.study.claims import paper_b
from clinometer.tools.study.claims import papers

_SIZES = ladders.SIZES[:4]
_SUPPORTED = claim_lib.Outcome.SUPPORTED
_CONTRADICTED = claim_lib.Outcome.CONTRADICTED
_UNDECIDED = claim_lib.Outcome.UNDECIDED


def _judged(rows, name):
    frame = ladders.frame(rows)
    (claim,) = (c for c in paper_a.CLAIMS if c.name == name)
    (found,) = papers.judge_all([claim], papers.evidence(frame))
    return found.verdict


def _line(slope, start=3.0):
    return lambda n: start - slope * math.log10(n / 1e7)


def _pair(other, vanilla_slope, other_slope, replicates=2, start=3.0, **columns):
    rows = ladders.ladder(
        "transformer", _SIZES, _line(vanilla_slope), replicates, 1e-3, **columns
    )
    return rows + ladders.ladder(
        other, _SIZES, _line(other_slope, start), replicates, 1e-3, seed=1, **columns
    )


@pytest.mark.parametrize(
    "slopes, replicates, outcome",
    [
        ((0.5, 0.3), 2, _SUPPORTED),
        ((0.3, 0.5), 2, _CONTRADICTED),
        ((0.4, 0.4), 2, _UNDECIDED),
    ],
)
def test_vanilla_gains_fastest(slopes, replicates, outcome):
    verdict = _judged(_pair("glu", *slopes, replicates), "vanilla_gains_fastest")
    assert verdict.outcome is outcome
    # Runs differ by 1e-3 nats.
    assert verdict.numbers["transformer"] == pytest.approx(slopes[0], abs=2e-3)
    assert verdict.numbers["glu"] == pytest.approx(slopes[1], abs=2e-3)


def test_vanilla_alone_decides_nothing():
    verdict = _judged(ladders.ladder(sizes=_SIZES), "vanilla_gains_fastest")
    assert verdict.outcome is _UNDECIDED and "other architectures" in verdict.reason
    verdict = _judged(ladders.ladder("glu", _SIZES), "vanilla_gains_fastest")
    assert "it has no runs" in verdict.reason


@pytest.mark.parametrize(
    "slopes, start, replicates, outcome",
    [
        ((0.5, 0.2), 2.9, 2, _SUPPORTED),  # Glu is better at first, then vanilla.
        ((0.5, 0.5), 3.1, 2, _CONTRADICTED),
        ((0.5, 0.2), 2.9, 1, _UNDECIDED),
    ],
)
def test_best_changes_with_scale(slopes, start, replicates, outcome):
    rows = _pair("glu", *slopes, replicates, start)
    assert _judged(rows, "best_changes_with_scale").outcome is outcome


@pytest.mark.parametrize(
    "gains, outcome",
    [((0.084, 0.027), _SUPPORTED), ((0.027, 0.084), _CONTRADICTED)],
)
def test_performer_gains_less(gains, outcome):
    rows = []
    for architecture, gain in zip(("transformer", "performer"), gains):
        for size, loss in (("base", 1.752), ("large", 1.752 * (1 - gain))):
            for seed, noise in ((1, 0.001), (2, -0.001)):
                rows.append(
                    {
                        "run": f"{architecture}-{size}-{seed}",
                        "model": f"{architecture}-{size}",
                        "seed": seed,
                        "validation_loss_nats": loss + noise,
                    }
                )
    verdict = _judged(rows, "performer_gains_less")
    assert verdict.outcome is outcome
    assert verdict.numbers["vanilla's"] == pytest.approx(100 * gains[0])
    ours = verdict.numbers["performer's gain in % from base to large"]
    assert ours == pytest.approx(100 * gains[1])


def _score(transfer):
    return lambda n: 60 + 10 * transfer * math.log10(n / 1e7)


@pytest.mark.parametrize(
    "transfers, outcome",
    [((1.0, 2.0), _SUPPORTED), ((2.0, 1.0), _CONTRADICTED)],
)
def test_switch_transfers_best(transfers, outcome):
    rows = []
    for seed, (name, transfer) in enumerate(zip(("transformer", "switch"), transfers)):
        rows += ladders.ladder(
            name,
            _SIZES,
            _line(0.5),
            2,
            1e-3,
            seed=seed,
            score_superglue=_score(transfer),
        )
    for i, row in enumerate(rows):
        row["score_superglue"] += 0.01 * (i % 3)
    assert _judged(rows, "switch_transfers_best").outcome is outcome


def _shapes(depth, width):
    rows = []
    models = (
        ("transformer-small", 3e12, 60.0),
        ("transformer-NL12-SM", 6e12, 60.0 + depth),
        ("transformer-FF8192-SM", 6e12, 60.0 + width),
    )
    for model, macs, score in models:
        for seed, noise in ((1, 0.05), (2, -0.05)):
            rows.append(
                {
                    "run": f"{model}-{seed}",
                    "model": model,
                    "seed": seed,
                    "papers_macs_forward_batch": macs,
                    "score_superglue": score + noise,
                }
            )
    return rows


@pytest.mark.parametrize(
    "gains, outcome",
    [
        ((5.0, 2.0), _SUPPORTED),
        ((2.0, 5.0), _CONTRADICTED),
        ((3.0, 3.0), _UNDECIDED),
    ],
)
def test_depth_beats_width(gains, outcome):
    assert _judged(_shapes(*gains), "depth_beats_width").outcome is outcome
    assert "no sizes" in _judged(_shapes(*gains)[:4], "depth_beats_width").reason


def test_published_rows_decide_nothing_since_no_model_was_trained_twice():
    claims = (*paper_a.CLAIMS, *paper_b.CLAIMS)
    judged = papers.judge_all(claims, papers.evidence(published.of_table(4)))
    assert len(judged) == 9
    for one in judged:
        assert one.verdict.outcome is _UNDECIDED and one.verdict.reason, one
        assert one.told.startswith("undecided (judged afterwards): ")
    assert len({claim.name for claim in claims}) == 9


def test_mixed_conditions_are_refused_unless_they_are_named():
    frame = ladders.frame(_pair("performer", 0.30, 0.20))
    frame.loc[0, "corpus_hash"] = "other"
    with pytest.raises(errors.FitError, match="corpus_hash"):
        papers.evidence(frame)
    seen = papers.evidence(frame, mixed=("corpus_hash",))
    fastest = papers.judge_all(paper_a.CLAIMS[:1], seen)[0].verdict
    assert fastest.outcome is _SUPPORTED


def test_slopes_are_fitted_once(monkeypatch):
    calls = []
    fit = alphas.fit_all
    monkeypatch.setattr(
        alphas, "fit_all", lambda *a, **k: calls.append(a) or fit(*a, **k)
    )
    summary.of_frame(ladders.frame(_pair("performer", 0.30, 0.20)))
    assert len(calls) == 1
