"""Tests that VALIDATION.md and the constants follow from the records."""

import math
import statistics

import pytest
from scipy import stats

from clinometer.tools.plan.validation import chosen
from clinometer.tools.plan.validation import forms
from clinometer.tools.plan.validation import main
from clinometer.tools.plan.validation import page
from clinometer.tools.plan.validation import published
from clinometer.tools.plan.validation import records

FOUND = records.read(published.fitted())
NEW = records.read(published.new())


def test_the_page_is_what_the_records_say():
    assert main.PAGE.read_text(encoding="utf-8") == main.rendered()


def test_what_is_said_of_images_follows_from_their_records():
    images = records.read(published.images())
    by_speed, by_cycles, by_flops = (
        [one.row.label for one in sorted(images, key=key)]
        for key in (
            lambda one: -one.row.steps_per_second,
            lambda one: one.work.cycles,
            lambda one: one.work.flops,
        )
    )
    assert by_speed == by_cycles == ["ViT-S", "ViT-B", "ViT-S L=24", "ViT-S L=28"]
    assert by_flops == ["ViT-S", "ViT-S L=24", "ViT-B", "ViT-S L=28"]
    line = stats.linregress(
        [one.work.cycles for one in images],
        [1 / one.row.steps_per_second for one in images],
    )
    assert f"has {1000 * line.intercept:.0f} ms without any cycles" in main.rendered()


def test_the_constants_are_those_that_fit_best():
    assert len(FOUND) == 12
    works = [one.work for one in FOUND]
    speeds = [one.row.steps_per_second for one in FOUND]
    assert list(chosen.FORMS) == [rule.name for rule in forms.RULES]
    for rule in forms.RULES:
        form = forms.fit(rule, works, speeds)
        used = chosen.FORMS[rule.name]
        assert used.constant == pytest.approx(form.constant, rel=1e-3)
        assert used.weights == pytest.approx(form.weights, rel=1e-3)


def test_the_rule_is_the_one_with_the_lowest_mean_error():
    means = {r.name: statistics.mean(page.errors(r, FOUND, NEW)) for r in forms.RULES}
    # Of equal rules the first, which is the simplest.
    assert chosen.FORM.name == min(means, key=means.__getitem__)


def test_every_printed_speed_is_within_the_factor():
    (rule,) = [x for x in forms.RULES if x.name == chosen.FORM.name]
    times = page.predicted(rule, FOUND, NEW)
    ratios = [
        abs(math.log(time * one.row.steps_per_second))
        for one, time in zip([*FOUND, *NEW], times)
    ]
    assert math.exp(max(ratios)) == pytest.approx(chosen.FACTOR, abs=5e-3)
