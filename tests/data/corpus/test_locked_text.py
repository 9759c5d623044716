"""The locked versions of the packages whose docstrings are the embedded corpus."""

import pathlib
import re

from clinometer.data.corpus import docstrings

_LOCK = pathlib.Path(__file__).parents[3] / "requirements.lock"
# On which the rates in tools/study/rates.json were measured. SentencePiece trains the
# vocabulary; where there are two versions, the first is that of Python 3.11.
_VERSIONS = {
    "absl-py": "2.5.1",
    "array-record": "0.8.6",
    "dm-haiku": "0.0.17",
    "etils": "1.15.0",
    "fsspec": "2026.9.0",
    "grain": "0.2.18",
    "jax": "0.10.2 0.11.2",
    "jaxlib": "0.10.2 0.11.2",
    "ml-collections": "1.1.0",
    "numpy": "2.4.6 2.5.5",
    "opt-einsum": "3.4.0",
    "optax": "0.2.8",
    "orbax-checkpoint": "0.12.8",
    "packaging": "26.3",
    "protobuf": "7.36.2",
    "scipy": "1.17.1 1.18.1",
    "sentencepiece": "0.2.3",
    "tensorboardx": "2.6.5",
    "zstandard": "0.25.0",
}


def _normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_keeps_the_text_that_the_rates_were_measured_on():
    locked = {}
    for name, version in re.findall(
        r"^([\w.-]+)==(\S+)", _LOCK.read_text(), re.MULTILINE
    ):
        locked.setdefault(_normalized(name), []).append(version)
    names = map(_normalized, [*docstrings.DISTRIBUTIONS, "sentencepiece"])
    found = {name: " ".join(locked.get(name, ["none"])) for name in names}
    changed = [
        f"{name} {_VERSIONS.get(name, 'none')} -> {found.get(name, 'none')}"
        for name in sorted(_VERSIONS | found)
        if _VERSIONS.get(name) != found.get(name)
    ]
    assert not changed, (
        f"This changes the embedded corpus, and so the hash of its store: "
        f"{', '.join(changed)}. The rates in tools/study/rates.json were measured on "
        "the former text, which every study says from now on. Measure them anew with "
        "`clinometer study --tune`, or accept that, and change the versions here."
    )
