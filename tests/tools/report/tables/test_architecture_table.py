"""Tests the table of architectures against the findings."""


def test_differences_are_those_of_the_findings(several):
    sources, tables = several
    rows = {row["arch"]: row for row in tables["architectures"]}
    found = {one.architecture: one for one in sources.findings.compared}
    for name in ("glu", "mixer"):
        assert rows[name]["diff"] == found[name].gain.estimate.value
        assert rows[name]["diff_lo"] == found[name].gain.estimate.low
        assert rows[name]["level"] == found[name].level.estimate.value
        factor = found[name].multiplier.average
        assert rows[name]["times"] == (factor.value if factor.bounded else None)
    assert rows["mixer"]["outcome_text"] == "gains less"
    assert rows["transformer"]["diff"] == 0.0 and rows["transformer"]["times"] == 1.0
    order = [row["diff"] for row in tables["architectures"]]
    assert order == sorted(order, reverse=True)
