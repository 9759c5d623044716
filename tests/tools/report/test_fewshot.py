"""Tests of few-shot accuracies against SciPy, and of their place beside texts."""

import pytest
from scipy import stats

from clinometer.tools.report import fewshot
from clinometer.tools.report import selection
from clinometer.tools.report import theme
from clinometer.tools.report.grids import fewshot as grids
from clinometer.train.fewshot import names

DEEP, WIDE = (61.0, 64.5, 58.2), (55.1, 60.0, 57.7)


def _scores(model, values, kind=names.MIXTURE, shots=10):
    return [
        fewshot.Score(f"{model}-o{order}", model, order, kind, shots, value)
        for order, value in enumerate(values, 1)
    ]


def test_the_interval_of_a_mean_is_students():
    (found,) = fewshot.means(_scores("vit-deep", DEEP))
    expected = stats.ttest_1samp(DEEP, 0).confidence_interval(0.95)
    assert (found.runs, found.less) == (3, None)
    assert found.value == pytest.approx(sum(DEEP) / 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    (alone,) = fewshot.means(_scores("vit-deep", DEEP[:1]))
    assert (alone.value, alone.low) == (61.0, None)


def test_differences_are_paired_by_order():
    scores = [*_scores("vit-a", DEEP), *_scores("vit-b", WIDE)]
    scores += _scores("vit-b", WIDE, names.RANDOM_FEATURES)
    scores += _scores("vit-b", (50.0,), shots=5)
    (found,) = fewshot.differences(scores)
    expected = stats.ttest_rel(WIDE, DEEP).confidence_interval(0.95)
    assert (found.model, found.less, found.runs) == ("vit-b", "vit-a", 3)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    (found,) = fewshot.differences([*_scores("vit-a", DEEP[:2]), *scores[3:6]])
    assert found.runs == 2


def test_tables_name_the_controls():
    scores = [*_scores("vit-a", DEEP), *_scores("vit-a", WIDE, names.SHUFFLED_LABELS)]
    grid = grids.means(fewshot.means(scores))
    shown = [[cell.shown for cell in row] for row in grid.body]
    assert shown == [
        ["vit-a", "10", "trained features", "3", "61.2"],
        ["vit-a", "10", "shuffled labels", "3", "57.6"],
    ]
    assert grid.body[0][4].error == "53.4 to 69.1"


def test_the_architecture_has_its_name_for_readers():
    assert theme.label("vit") == "ViT"


def test_images_enter_no_fit_of_texts():
    base = {"role": "final", "status": "finished", "copy_of": None}
    base |= {"validation_loss_nats": 2.0, "step": 3, "train_steps": 3}
    text, image = (
        {**base, "run": kind, "kind": kind}
        for kind in ("pretraining", "classification")
    )
    assert selection.usable([text, image]) == [text]
    assert selection.usable([image]) == [image]
    assert "enters no fit" in selection.why_left_out(image, [text, image])
