"""The published models that a run can be compared with, by name."""

import dataclasses

from clinometer.kernels.options.errors import did_you_mean
from clinometer.models.architectures import registry
from clinometer.tools.results import errors
from clinometer.tools.results import published
from clinometer.tools.results import table
from clinometer.tools.verify import tolerances

_TABLES = (4, 3, 6)  # The first that has a value gives it.
_PREFIX = "t5-"


@dataclasses.dataclass(frozen=True)
class Reference:
    """What was published of a model.

    Attributes:
        name: such as "t5-base".
        model: the model's canonical name.
        sources: the tables that the values are from.
        params: number of parameters, computed.
        values: `tolerances.LOSS`, task or average -> value.
    """

    name: str
    model: str
    sources: tuple[str, ...]
    params: int
    values: dict[str, float]


def all_of() -> dict[str, Reference]:
    """Returns name -> reference, from the published rows that have scores."""
    found: dict[str, Reference] = {}
    names: dict[str, str] = {}
    for number in _TABLES:
        for row in table.to_records(published.of_table(number)):
            model = registry.parse(row["model"]).canonical
            label = row["run"].partition(": ")[2]
            name = names.setdefault(model, _PREFIX + label.lower().replace(" ", "-"))
            values = _values(row)
            before = found.get(name)
            if before is not None:
                values |= before.values
            sources = (*(before.sources if before else ()), row["source"])
            params = int(row["params_total"])
            found[name] = Reference(name, model, sources, params, values)
    return found


def get(name: str) -> Reference:
    """Returns a reference.

    Raises:
        ResultsError: there is none of this name; the message lists the known ones.
    """
    known = all_of()
    if name.lower() not in known:
        raise errors.ResultsError(
            f"--against: unknown {name!r}{did_you_mean(name, known)}; known are "
            f"{', '.join(known)}"
        )
    return known[name.lower()]


def _values(row: dict[str, object]) -> dict[str, float]:
    scores = {
        key.removeprefix("score_"): value
        for key, value in row.items()
        if key.startswith("score_") and value is not None
    }
    loss = row[tolerances.LOSS]
    return ({} if loss is None else {tolerances.LOSS: loss}) | scores
