"""Tests the colors and markers of architectures in figures."""

import dataclasses

from matplotlib import lines
import pytest

from clinometer import models
from clinometer.tools.report import figures


def test_a_family_has_a_colour_and_an_architecture_a_mark():
    looks = figures.looks(models.ARCHITECTURES)
    for name, look in looks.items():
        kind = models.ARCHITECTURES[name]
        assert look.mark == kind.mark
        assert look.mark in lines.Line2D.markers
        # The same in a figure of its own, and different from all others.
        assert figures.looks([name]) == {name: look}
        for other, theirs in looks.items():
            family = models.ARCHITECTURES[other].family
            assert (look.colour == theirs.colour) == (kind.family == family)
            assert other == name or look != theirs
    # One color of the palette is left for architectures without a family.
    families = {kind.family for kind in models.ARCHITECTURES.values()}
    assert len(families) < len(figures.PALETTE)


@pytest.mark.parametrize("known", [False, True])
def test_architectures_without_a_look_are_told_apart(monkeypatch, known):
    if known:  # From files of the user's that say nothing of figures.
        plain = dataclasses.replace(
            models.ARCHITECTURES["transformer"], family="other", mark="o"
        )
        for name in ("averaging", "gating"):
            monkeypatch.setitem(models.ARCHITECTURES, name, plain)
    names = {"averaging", "gating", *models.ARCHITECTURES}
    assert len(set(figures.looks(names).values())) == len(names)
