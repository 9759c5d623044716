"""Tests the lead: what was found, and what the runs cannot say."""

import dataclasses
import re
import statistics

import numpy as np
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import build
from clinometer.tools.report import fewshot
from clinometer.tools.report import lead
from clinometer.tools.report import study_figures
from clinometer.tools.report import study_page
from clinometer.tools.report.tables import study_tables
from clinometer.tools.study.claims import claim
from clinometer.tools.study.claims import verdicts
from clinometer.train.fewshot import names


def _of(directory):
    sources = build.read(directory)
    return lead.make(sources, study_tables.make(sources))


def test_the_headline_counts_what_gains_less(several):
    found = lead.make(*several)
    assert found.headline == (
        "One of two alternatives gains less from compute than vanilla; none gains more"
    )
    assert "24 of 25 runs finished, 1 failed" in found.kicker
    assert found.missing == "mixer-nano (1 failed)"
    assert "vanilla gains +0.2" in found.stand and "95 % interval" in found.stand
    assert not found.claimed
    errors = [abs(row["error"]) for row in several[1]["held_out"]]
    assert found.held_out == (
        "Fitted without the three architectures’ largest sizes and asked for them, the "
        f"straight line misses by {statistics.median(errors):.3f} nats in the median "
        f"and {max(errors):.3f} at most; sizes are too few to ask a power law with a "
        "floor."
    )
    assert "Of the papers’ 9 claims, judged afterwards" in found.papers
    judged = [one.verdict.outcome.value for one in several[0].laws.claims]
    assert [one.verdict for one in found.decided] == [
        word for word in judged if word != "undecided"
    ]
    texts = {one.text: one for one in found.statements}
    assert texts["Losses differ at equal training FLOPs"].numbers == (
        "better than vanilla: GLU; worse: Mixer"
    )
    steps = texts["Every size is better than the one before"]
    assert steps.verdict == "seen" and steps.numbers == "9 of 9 steps are clear of 0"
    limits = {one.name: one.text for one in found.limits}
    assert "GLU: undecided" in limits["Which architecture gains most."]
    assert "2 orders" in limits["Other texts or another order."]
    assert "mixer-failed" in limits["What failed runs would have shown."]
    assert "No margin" in limits["Whether two are equivalent."]


def test_runs_of_several_lengths_are_no_gain_of_size(tmp_path):
    for size in ("pico", "nano", "micro"):
        for steps in (300, 1200):
            contents = synthetic_study.record(size, config__train_steps=steps)
            synthetic_study.write_run(tmp_path / f"a-{size}-{steps}", contents)
    sources = build.read(tmp_path, ("train_steps",))
    found = lead.make(sources, study_tables.make(sources))
    assert found.headline.startswith("Runs of two lengths")
    assert "for 300 to 1,200 steps" in found.kicker
    told = {one.name: one.text for one in found.limits}["How far runs differ."]
    assert told.endswith("the runs differ in run length (train_steps).")


def test_images_are_described_as_such_and_their_scores_stand_first(several):
    sources, tables = several
    deep, wide = (61.0, 64.5, 58.2), (55.1, 60.0, 57.7)
    scores = [
        fewshot.Score("", model, order, names.MIXTURE, shots, value)
        for model, values in (("vit-a", deep), ("vit-b", wide))
        for shots in (5, 10)
        for order, value in enumerate(values)
    ]
    rows = [row | {"kind": "classification"} for row in sources.rows]
    of_images = dataclasses.replace(sources, rows=rows, fewshot=scores)
    found = lead.make(of_images, tables)
    steps, rows_per_batch = (rows[0][k] for k in ("train_steps", "batch_size"))
    assert found.kicker.endswith(
        f"pretrained to classify images for {steps:,} steps with {rows_per_batch} "
        "images per batch"
    )
    assert "nats per image for each" in found.stand
    assert found.headline == "Two models’ few-shot accuracies are not told apart"
    limits = {one.name: one.text for one in found.limits}
    assert "these images and 2 orders" in limits["Other images or another order."]
    expected = stats.ttest_rel(wide, deep).confidence_interval(0.95)
    assert expected.low < 0 < expected.high
    assert found.statements[0] == lead.Statement(
        "undecided",
        "Few-shot accuracy differs, with 10 images of each class",
        f"vit-b less vit-a: −3.6 points [−{-expected.low:.1f}, +{expected.high:.1f}]",
    )
    assert "Few-shot" not in found.statements[1].text
    mixed = dataclasses.replace(of_images, rows=[rows[0], *sources.rows[1:]])
    assert "by span corruption" in lead.make(mixed, tables).kicker


def test_claims_stand_in_place_of_findings(several):
    sources, tables = several
    judged = verdicts.Judged(
        claim.Claim("a", "4 < 5 & more", lambda runs: None),
        claim.Verdict(claim.Outcome.UNDECIDED, {"gain": 0.12345}, "a run <diverged>"),
    )
    found = lead.make(dataclasses.replace(sources, claims=[judged]), tables)
    assert found.claimed and found.statements == (
        lead.Statement("undecided", "4 < 5 & more", "gain 0.1235", "a run <diverged>"),
    )


def test_many_claims_stand_below_the_figure_the_undecided_ones_folded(
    several, without_figures
):
    del without_figures
    sources, tables = several
    outcomes = 2 * [claim.Outcome.SUPPORTED] + 7 * [claim.Outcome.UNDECIDED]
    judged = [
        verdicts.Judged(
            claim.Claim(str(i), f"claim {i}", lambda runs: None), claim.Verdict(outcome)
        )
        for i, outcome in enumerate(outcomes)
    ]
    few = lead.make(dataclasses.replace(sources, claims=judged[:8]), tables)
    assert few.tally == ()
    sources = dataclasses.replace(sources, claims=judged)
    assert lead.make(sources, tables).tally == (
        *(("supported", 2), ("contradicted", 0), ("undecided", 7)),
    )
    figures = study_figures.make(tables)
    text = study_page.render(sources, tables, figures)
    below = text.split('<div class="claims wide">')[1]
    shown, folded = below.split("</details>")[0].split("<details>")
    numbers = [re.findall(r"claim (\d)<", part) for part in (text, shown, folded)]
    assert numbers == [list("012345678"), list("01"), list("2345678")]


def test_one_architecture_says_its_gain(tmp_path):
    synthetic_study.write_study(tmp_path)
    found = _of(tmp_path)
    small, large = (
        synthetic_study.record(size, seed)["metrics"]["validation/loss"]
        for size, seed in (("pico", 0.5), ("milli", 0))
    )
    assert found.headline == (
        f"Vanilla’s loss falls from pico to milli: by +{small - large:.3f} nats"
    )


def test_a_single_alternative_is_named(tmp_path):
    rng = np.random.default_rng(0)
    losses = {
        (name, size, order, order): 4.5 - fall * i + 0.004 * rng.normal()
        for name, fall in (("transformer", 0.1), ("mixer", 0.02))
        for i, size in enumerate(synthetic_study.SIZES)
        for order in (1, 2)
    }
    synthetic_study.write_losses(tmp_path, losses)
    assert _of(tmp_path).headline == "Mixer gains less from compute than vanilla"


def test_what_is_unknown_is_said(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record(status="running"))
    found = _of(tmp_path)
    assert found.headline == "No run has finished yet"
    assert found.missing == "transformer-pico (1 running)" and found.stand == ""
    for size in synthetic_study.SIZES:
        synthetic_study.write_run(tmp_path / size, synthetic_study.record(size))
    found = _of(tmp_path)
    assert "the error between runs is unknown" in found.stand
    assert "How far runs differ." in {one.name for one in found.limits}


def test_numbers_in_words():
    assert lead.counted(3, 11) == "three of eleven"
    assert lead.counted(0, 2) == "none of two"
    assert lead.counted(0) == "no" and lead.counted(40) == "40"
