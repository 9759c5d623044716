"""Finds the tuned rate of a model in a table."""

from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
import json
from typing import Any

from clinometer.tools.study.tuning import line
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train import errors

STEPS = "train_steps"


class MissingRateError(errors.ConfigError):
    """The table has no rate for a model; the message says what to do.

    Attributes:
        why: why it has none.
    """

    def __init__(self, message: str, why: str):
        super().__init__(message)
        self.why = why


@dataclasses.dataclass(frozen=True)
class Shape:
    """What the table must have a rate for.

    Attributes:
        model: the model's name, for messages.
        architecture: its architecture.
        layers: numbers of encoder and decoder layers.
        width: d_model.
    """

    model: str
    architecture: str
    layers: tuple[int, int]
    width: int


@dataclasses.dataclass(frozen=True)
class Found:
    """A rate from the table.

    Attributes:
        rate: the peak learning rate.
        how: `line.SWEPT`, `line.INTERPOLATED` or `line.EXTRAPOLATED`.
        entry: the entry that it is from.
        other_store: whether the sweep ran on another token store.
    """

    rate: float
    how: str
    entry: table_lib.Entry
    other_store: bool

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the reader of a result must know about this rate."""
        own = self.entry.architecture
        told = []
        if self.how == line.EXTRAPOLATED:
            told.append(f"{own}: a rate is extrapolated beyond the swept widths")
        if self.other_store:
            told.append(f"{own}: the rates were tuned on another token store")
        for size in self.entry.sizes:
            if not size.interior:
                told.append(
                    f"{own}: the rate at width {size.width} is not tuned; its lowest "
                    "loss is at the edge of the sweep"
                )
        return tuple(told)


def find(
    table: table_lib.Table,
    shape: Shape,
    settings: Mapping[str, Any],
    *,
    corpus_hash: str | None,
    extrapolate: bool = False,
) -> Found:
    """Returns the rate of a model; no architecture borrows another's.

    Args:
        table: the table.
        shape: of the model.
        settings: config key -> value of the protocol, without the rate.
        corpus_hash: of the token store that the model is trained on; None if it is not
            known yet, which is taken for the store of the table.
        extrapolate: whether a width outside the swept ones has a rate.

    Raises:
        MissingRateError: there is none; the message says which fields differ.
    """
    same = [e for e in table.entries if e.architecture == shape.architecture]
    layers = [e for e in same if tuple(e.layers) == tuple(shape.layers)]
    wanted = json.loads(json.dumps(dict(settings)))
    fitting = [e for e in layers if dict(e.settings) == wanted]
    # Entries that were measured on this store come first.
    fitting.sort(key=lambda entry: corpus_hash not in (None, entry.corpus_hash))
    for entry in fitting:
        found = line.rate(shape.width, entry.rates)
        if found is not None and (extrapolate or found[1] != line.EXTRAPOLATED):
            other = corpus_hash not in (None, entry.corpus_hash)
            return Found(*found, entry, other)
    if fitting:
        widths = sorted({width for entry in fitting for width in entry.rates})
        why = f"it has widths {_listed(widths)}, and this is {shape.width}"
    elif layers:
        why = _difference(layers, wanted)
    elif same:
        there = _listed(sorted({"+".join(map(str, e.layers)) for e in same}))
        why = f"it has {there} layers, and this has {'+'.join(map(str, shape.layers))}"
    else:
        why = f"it has no {shape.architecture}"
    raise MissingRateError(
        f"{shape.model}: the table has no learning rate for {wanted.get(STEPS)} steps: "
        f"{why}. Measure it with --tune, or give one rate for all runs with "
        "--learning-rate X",
        why,
    )


def _difference(entries: Sequence[table_lib.Entry], wanted: Mapping[str, Any]) -> str:
    """Returns in which fields the nearest entry differs from what is wanted."""

    def differing(entry: table_lib.Entry) -> list[str]:
        there = entry.settings
        fields = sorted({*there, *wanted}, key=lambda field: (field != STEPS, field))
        return [field for field in fields if there.get(field) != wanted.get(field)]

    nearest = min(entries, key=lambda entry: len(differing(entry)))
    field = differing(nearest)[0]
    return (
        f"it was measured with {field} = {nearest.settings.get(field)!r}, and this is "
        f"{wanted.get(field)!r}"
    )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))
