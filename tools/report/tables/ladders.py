"""Which models a line joins in figures: sizes of one ladder, not shapes of one size."""

from collections.abc import Mapping
from collections.abc import Sequence
import itertools

from clinometer.models.architectures import grammar
from clinometer.models.architectures import registry


def of(models: Sequence[tuple[str, str]]) -> list[str]:
    """Returns the ladder of each model; a line joins the models of one ladder.

    The models of an architecture under the same conditions are a ladder if none of
    their dimensions falls from one to the next. If one does, as where depths and widths
    of a size are compared, sizes without operators are a ladder, and each other model
    is by itself.

    Args:
        models: (name, conditions), by rising cost.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for i, (name, conditions) in enumerate(models):
        groups.setdefault((name.partition("-")[0], conditions), []).append(i)
    ladders = [""] * len(models)
    for (architecture, conditions), group in groups.items():
        shapes = [_shape(models[i][0]) for i in group]
        grows = all(
            _grows(one, following)
            for (one, _), (following, _) in itertools.pairwise(shapes)
        )
        for i, (_, has_operators) in zip(group, shapes, strict=True):
            alone = has_operators and not grows
            ladders[i] = f"{models[i][0] if alone else architecture} {conditions}"
    return ladders


def _shape(name: str) -> tuple[Mapping[str, int | bool], bool]:
    """Returns the dimensions of a model, and whether operators set some of them."""
    try:
        parsed = registry.parse(name)
    except grammar.ModelNameError:  # Of an architecture that is not registered here.
        return {}, False
    return parsed.config_fields(), bool(parsed.operators)


def _grows(one: Mapping[str, int | bool], following: Mapping[str, int | bool]) -> bool:
    return one.keys() == following.keys() and all(
        value <= following[field] for field, value in one.items()
    )
