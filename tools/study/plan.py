"""Makes the list of runs of a study: architecture x size x order x seed, in passes."""

from collections.abc import Sequence
import dataclasses
from typing import Any

from clinometer.train import errors

# Initialization i with the data in order k has the seed k * _SEEDS_PER_ORDER + i, so
# that no two runs of a model share their initialization.
_SEEDS_PER_ORDER = 100
FINAL = "final"
SWEEP = "sweep"


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
        model: the model's name, e.g. "transformer-pico".
        seed: seed of the run.
        order: number of the order of the data, from 1; None for the trainer's default.
        pass_number: pass of the study that trains it, from 1; None for sweeps.
        role: one of `recorded_config.ROLES`.
        learning_rate: the peak rate; None until it has been looked up.
        fixed_rate: the rate, if it is one for all runs.
        rate_table: hash of the table that the rate is from, or None.
        rate_corpus: hash of the corpus on which it was tuned, or None.
        claims: hash of the claims that the run is to decide, or None.
    """

    model: str
    seed: int
    order: int | None = None
    pass_number: int | None = 1
    role: str = FINAL
    learning_rate: float | None = None
    fixed_rate: float | None = None
    rate_table: str | None = None
    rate_corpus: str | None = None
    claims: str | None = None

    @property
    def name(self) -> str:
        """The name of its folder."""
        rate = f"-r{self.learning_rate:g}" if self.role == SWEEP else ""
        order = "" if self.order is None else f"-o{self.order}"
        return f"{self.model}{rate}{order}-s{self.seed}"

    def marks(self) -> dict[str, Any]:
        """Returns the fields of `config.study`, by which the record says what it is."""
        return {
            "role": self.role,
            "pass_number": self.pass_number,
            "claims": self.claims,
            "rate_table": self.rate_table,
            "rate_corpus": self.rate_corpus,
            "fixed_rate": self.fixed_rate,
        }


def plan_runs(
    architectures: Sequence[str],
    sizes: Sequence[str],
    seeds: Sequence[int],
    *,
    replicate_seeds: Sequence[int] = (),
    replicate_largest: bool = False,
) -> list[PlannedRun]:
    """Returns the runs of a study with one order of the data, without duplicates.

    The k-th seed of a size is trained in pass k.

    Args:
        architectures: e.g. ["transformer"].
        sizes: from small to large, operators allowed, e.g. ["pico", "NL4-nano"].
        seeds: seeds that every size is trained with.
        replicate_seeds: additional seeds for the first size. They show how much the
            loss varies by chance, at an end of the line, where it affects a slope most.
        replicate_largest: whether the last size is trained with these seeds too.

    Returns:
        The runs, in the order of architectures, sizes and seeds.

    Raises:
        ConfigError: an empty list or a negative seed.
    """
    _refuse_empty(architectures=architectures, sizes=sizes, seeds=seeds)
    if min([*seeds, *replicate_seeds]) < 0:
        raise errors.ConfigError("seeds must be 0 or above")
    runs: dict[tuple[str, int], PlannedRun] = {}
    for architecture in architectures:
        for size in sizes:
            ends = {sizes[0], *([sizes[-1]] if replicate_largest else [])}
            extra = replicate_seeds if size in ends else ()
            for number, seed in enumerate(dict.fromkeys((*seeds, *extra)), 1):
                run = PlannedRun(f"{architecture}-{size}", seed, pass_number=number)
                runs.setdefault((run.model, run.seed), run)
    return list(runs.values())


def plan_orders(
    architecture: str,
    sizes: Sequence[str],
    orders: Sequence[int],
    initializations: int,
    first: int = 1,
) -> list[PlannedRun]:
    """Returns the runs of one architecture with several orders of the data.

    Pass k trains the k-th order of every size that has one, with all initializations.
    Data orders are shared by all architectures and sizes.

    Args:
        architecture: e.g. "transformer".
        sizes: from small to large, operators allowed.
        orders: number of orders of each size, or one number for all of them.
        initializations: number of runs in each order.
        first: number of the first order, that of pass 1.

    Raises:
        ConfigError: an empty list, or the number of orders of some sizes only.
    """
    _refuse_empty(sizes=sizes, orders=orders)
    if len(orders) == 1:
        orders = [*orders] * len(sizes)
    if len(orders) != len(sizes):
        raise errors.ConfigError(
            f"{architecture}: orders has {len(orders)} numbers and sizes has "
            f"{len(sizes)}; accepted: one number for all sizes, or one for each"
        )
    if not 1 <= initializations <= _SEEDS_PER_ORDER:
        raise errors.ConfigError(
            f"{architecture}: initializations is {initializations}; accepted: a whole "
            f"number from 1 to {_SEEDS_PER_ORDER}"
        )
    return [
        PlannedRun(
            f"{architecture}-{size}",
            order * _SEEDS_PER_ORDER + index,
            order=order,
            pass_number=order - first + 1,
        )
        for size, count in zip(sizes, orders)
        for order in range(first, first + count)
        for index in range(initializations)
    ]


def _refuse_empty(**lists: Sequence[object]) -> None:
    for name, values in lists.items():
        if not values:
            raise errors.ConfigError(f"no {name} given; a study needs at least one")
