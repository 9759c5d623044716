"""Tests the colors and shapes of architectures."""

import dataclasses

import pytest

from clinometer import models
from clinometer.tools.report import theme


def test_a_family_has_a_hue_and_every_architecture_a_shape():
    looks = theme.looks(models.ARCHITECTURES)
    assert {look.hue for look in looks.values()} == set(theme.HUES.values())
    assert len({look.shape for look in looks.values()}) == len(models.ARCHITECTURES)
    for name, look in looks.items():
        # The same in a figure of its own.
        assert theme.looks([name]) == {name: look}
        for other, theirs in looks.items():
            family = models.ARCHITECTURES[other].family
            same = models.ARCHITECTURES[name].family == family
            assert (look.hue == theirs.hue) == same
    # Families stand together, and vanilla first.
    families = [look.family for look in looks.values()]
    assert list(looks)[0] == "transformer"
    assert len(list(dict.fromkeys(families))) == 1 + sum(
        a != b for a, b in zip(families, families[1:])
    )


@pytest.mark.parametrize("known", [False, True])
def test_architectures_without_a_look_are_told_apart(monkeypatch, known):
    if known:  # From files of the user's that say nothing of figures.
        plain = dataclasses.replace(
            models.ARCHITECTURES["transformer"], family="other", mark=""
        )
        for name in ("averaging", "gating"):
            monkeypatch.setitem(models.ARCHITECTURES, name, plain)
    names = {"averaging", "gating", *models.ARCHITECTURES}
    looks = theme.looks(names)
    assert len({look.shape for look in looks.values()}) == len(names)
    assert {looks[n].hue for n in ("averaging", "gating")} == {"muted"}
    # More than there are shapes share one.
    many = theme.looks(f"own{i}" for i in range(30))
    assert len(many) == 30


def test_texts_name_architectures_for_readers():
    said = "not told from 0: glu, switch; transformer's; a switchboard, NOT.glu_2"
    assert theme.labelled(said) == (
        "not told from 0: GLU, Switch; Transformer's; a switchboard, NOT.glu_2"
    )


def test_light_writes_colours_out():
    spec = {"mark": {"fill": theme.var("ink")}, "text": "var(--bad)"}
    assert theme.light(spec) == {
        "mark": {"fill": theme.LIGHT["ink"]},
        "text": theme.LIGHT["bad"],
    }
    assert theme.LIGHT.keys() == theme.DARK.keys()
