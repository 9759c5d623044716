"""Architectures loaded from users' own files."""

import os
import re
import subprocess
import sys

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.models.architectures import own
from clinometer.models.architectures import registry

_SHORT = """\
from clinometer import models
from clinometer.models.architectures import transformer
assert models.ARCHITECTURES is not None  # The whole package is imported.
ARCHITECTURE = transformer.ARCHITECTURE
"""

# Adds a parameter, with or without axis names.
_GAIN = """\
import dataclasses
import haiku as hk
from clinometer.models.architectures import transformer
from clinometer.models.layers import parameters

def make_network(config):
    network = transformer.make_network(config)

    def decode(*args):
        logits, extras = network.decode(*args)
        return logits * GAIN, extras

    return dataclasses.replace(network, decode=decode)

ARCHITECTURE = dataclasses.replace(transformer.ARCHITECTURE, make_network=make_network)
"""


def _load(monkeypatch, *paths):
    monkeypatch.setenv(own.VARIABLE, os.pathsep.join(map(str, paths)))
    known = dict(registry.ARCHITECTURES)
    own.load(known)
    return known


def test_each_file_is_known_by_its_name(tmp_path, monkeypatch):
    for name in ("first", "second2"):
        (tmp_path / f"{name}.py").write_text(_SHORT)
    monkeypatch.chdir(tmp_path)
    known = _load(monkeypatch, "first.py", "", tmp_path / "second2.py")
    assert list(known)[-2:] == ["first", "second2"]
    # Paths are absolute, so that child processes find the files from any folder.
    expected = [str(tmp_path / "first.py"), str(tmp_path / "second2.py")]
    assert os.environ[own.VARIABLE].split(os.pathsep) == expected


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("nowhere/a.py", None, "is not a Python file"),
        ("folder.py", "folder", "is not a Python file"),
        ("a.txt", _SHORT, "is not a Python file"),
        ("x" * 300 + ".py", None, "is not a Python file"),
        ("mixer.py", _SHORT, "an architecture 'mixer' already"),
        ("my_own.py", _SHORT, "'my_own' is not accepted"),
        ("Own.py", _SHORT, "'Own' is not accepted"),
        ("nano.py", _SHORT, "'nano' is not accepted"),
        ("empty.py", "", "does not define ARCHITECTURE = "),
        ("other.py", "ARCHITECTURE = dict", "does not define ARCHITECTURE = "),
    ],
)
def test_what_is_none_is_named(name, text, words, tmp_path, monkeypatch):
    path = tmp_path / name
    if text == "folder":
        path.mkdir()
    elif text is not None:
        path.write_text(text)
    with pytest.raises(OptionError, match=re.escape(words)) as caught:
        _load(monkeypatch, path)
    assert str(caught.value).startswith("CLINOMETER_ARCHITECTURES: ")


def test_a_mistake_in_the_file_keeps_its_traceback(tmp_path, monkeypatch):
    (tmp_path / "wrong.py").write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        _load(monkeypatch, tmp_path / "wrong.py")


def test_its_parameters_have_named_axes(tmp_path, monkeypatch):
    for name, gain in (
        ("named", 'parameters.make("gain", (), (), parameters.ones)'),
        ("unnamed", 'hk.get_parameter("gain", [], init=parameters.ones)'),
    ):
        (tmp_path / f"{name}.py").write_text(_GAIN.replace("GAIN,", f"{gain},"))
    known = _load(monkeypatch, tmp_path / "named.py", tmp_path / "unnamed.py")
    monkeypatch.setattr(registry, "ARCHITECTURES", known)
    axes = registry.build("named-NL1-pico").param_axes()
    assert axes["~"] == {"gain": ()}
    with pytest.raises(ValueError, match="without named axes: ~/gain; create them"):
        registry.build("unnamed-NL1-pico").param_axes()


def test_a_fresh_process_knows_it(tmp_path):
    path = tmp_path / "thirteenth.py"
    path.write_text(_SHORT)
    code = (
        "from clinometer import models\n"
        "print(models.build('thirteenth-NL1-pico').name, len(models.ARCHITECTURES))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, own.VARIABLE: str(path)},
        capture_output=True,
        text=True,
        check=True,
    )
    number = len(registry.ARCHITECTURES) + 1
    assert found.stdout.split() == ["thirteenth-NL1-PI", str(number)]
