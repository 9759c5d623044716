"""Checks the rules of the papers on Table 4, and the separation by chips."""

import pytest

from clinometer.tests.tools.laws import ladders
from clinometer.tools.laws import frontiers
from clinometer.tools.results import published


@pytest.fixture(scope="module")
def found():
    return frontiers.of_frame(published.of_table(4))


def test_base_and_xl_stand_on_no_downstream_frontier(found):
    by_run = {one.runs[0]: one for one in frontiers.efficient(found)}
    assert len(by_run) == 14
    off = {name for name, one in by_run.items() if not one.efficient}
    assert {"Table 4: Base", "Table 4: XL"} <= off
    # The paper says of the others that they stand on one.
    assert by_run["Table 4: Small 24L"].efficient
    assert by_run["Table 4: Large 36L"].efficient
    # Upstream XL does stand on the frontier of parameters.
    (upstream,) = (
        one
        for one in found
        if (one.cost, one.quality) == ("params_total", "validation_loss_nats")
    )
    assert "transformer-xl" in {member.model for member in upstream.on}


def test_printed_flops_change_nothing_for_them():
    table = published.of_table(4)
    table[frontiers.FLOPS] = table["printed_macs_forward_batch"]
    judged = frontiers.efficient(frontiers.of_frame(table))
    off = {one.runs[0] for one in judged if not one.efficient}
    assert {"Table 4: Base", "Table 4: XL"} <= off
    # Mutation: a better Base stands on one.
    table.loc[table["run"] == "Table 4: Base", "score_superglue"] = 75.0
    judged = frontiers.efficient(frontiers.of_frame(table))
    assert {o.runs[0]: o for o in judged}["Table 4: Base"].efficient


def test_speed_only_within_one_number_of_chips(found):
    speeds = [one for one in found if one.cost == frontiers.SPEED]
    assert {one.chips for one in speeds} == {"16 x TPU v3", "64 x TPU v3"}
    for one in speeds:
        on_64 = {"transformer-xxl", "transformer-NL32-XL"}
        models = {member.model for member in one.members}
        assert models == on_64 if one.chips.startswith("64") else not models & on_64


def test_probabilities_need_errors(found):
    assert all(m.probability is None for one in found for m in one.members)
    rows = ladders.ladder(replicates=2, noise=0.02, sizes=ladders.SIZES[:4])
    for one in frontiers.of_frame(ladders.frame(rows), ("params_total",)):
        first, *others = one.members
        assert first.probability == pytest.approx(1) and first.on
        assert all(0 <= member.probability <= 1 for member in others)
        # Steps of the ladder are many standard errors.
        assert others[0].probability > 0.9


def test_noisy_speeds_stand_on_no_frontier_of_time():
    rows = ladders.ladder(sizes=ladders.SIZES[:3])
    for row in rows:
        row |= {"training_seconds": 10, "device_training": 1, "speed_noisy": "true"}
    costs = {one.cost for one in frontiers.of_frame(ladders.frame(rows))}
    assert "training_seconds" not in costs and "params_total" in costs
