"""Fills the blanks of a prompt with the spans that a model gives for its sentinels.

A model that was pretrained by span corruption (FORMATS.md#span-corruption) answers
`The <extra_id_0> walks in <extra_id_1> park.` with the text of each blank after its
sentinel, `<extra_id_0> cute dog <extra_id_1> the`.
"""

from collections.abc import Mapping

from clinometer.data.store.vocabulary import SENTINEL


def blanks(prompt: str) -> list[int]:
    """Returns the numbers of the sentinels of a prompt, in order."""
    return [int(number) for number in SENTINEL.findall(prompt)]


def spans(prompt: str, output: str) -> dict[int, str]:
    """Returns the spans that an output gives for the blanks of a prompt.

    Args:
        prompt: a text with sentinels.
        output: a decoded text.

    Returns:
        Text by number of the sentinel, in the output's order; of a repeated sentinel,
        the first. Text before the first sentinel, and after one that is not in the
        prompt, such as the one with which T5 closes its outputs, belongs to no blank.
    """
    wanted = set(blanks(prompt))
    parts = SENTINEL.split(output)
    found: dict[int, str] = {}
    for number, text in zip(map(int, parts[1::2]), parts[2::2], strict=True):
        if number in wanted:
            found.setdefault(number, text.strip())
    return found


def filled(prompt: str, found: Mapping[int, str]) -> str | None:
    """Returns the prompt with its blanks filled, or None if a blank has no span.

    Runs of whitespace become one space, as the vocabulary reads them.

    Args:
        prompt: a text with sentinels.
        found: from `spans`.
    """
    wanted = blanks(prompt)
    if not wanted or not found.keys() >= set(wanted):
        return None
    text = SENTINEL.sub(lambda sentinel: found[int(sentinel[1])], prompt)
    return " ".join(text.split())
