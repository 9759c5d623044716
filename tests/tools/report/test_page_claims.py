"""Tests the table of claims."""

from clinometer.tools.report import page_claims
from clinometer.tools.study.claims import claim
from clinometer.tools.study.claims import verdicts


def test_each_claim_has_its_verdict_numbers_and_reason():
    judged = verdicts.Judged(
        claim.Claim("a", "4 < 5 & more", lambda runs: None),
        claim.Verdict(claim.Outcome.UNDECIDED, {"gain": 0.12345}, "a run <diverged>"),
    )
    table = page_claims.render([judged])
    for words in (
        "4 &lt; 5 &amp; more",
        "undecided",
        "gain 0.1235",
        "&lt;diverged&gt;",
    ):
        assert words in table


def test_without_claims_a_study_is_a_demonstration():
    assert "demonstration" in (found := page_claims.render([]))
    assert "<table" not in found
