"""Tests the three outcomes by name, which the report prints."""

from clinometer.tools.study.claims import claim


def test_outcomes():
    assert list(claim.Outcome) == ["supported", "contradicted", "undecided"]
    assert claim.Verdict(claim.Outcome.UNDECIDED).numbers == {}
