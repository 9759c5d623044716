"""Tests which figures a study has, and their names."""

from clinometer.tools.report import study_figures


def test_each_place_has_the_figures_whose_data_exist(several):
    figures = study_figures.make(several[1])
    assert tuple(figures) == study_figures.PLACES
    names = [one.name for one in study_figures.all_of(figures)]
    assert len(set(names)) == len(names)
    assert {
        *("differences", "loss-glu", "loss-mixer", "frontier-time", "score-rte"),
        *("ranks", "by-step-rte", "curves-nano", "residuals", "timing", "held-out"),
    } <= set(names)
    assert len(figures["compute"]) == 3 and len(figures["frontier"]) == 6
    # Panels share their specification, so that a page has it once.
    one, two, _ = figures["compute"]
    assert one.specs is two.specs and one.panel != two.panel
    assert one.complete() != two.complete()


def test_file_names_are_plain_and_differ():
    assert study_figures.slug("<b>&Evolved 2") == "b-evolved-2"
    assert study_figures._names("loss", ["a b", "a-b", "<>"]) == {
        "a b": "loss-a-b",
        "a-b": "loss-a-b-2",
        "<>": "loss-x",
    }
