"""Mixtures of tasks: which tasks, at which rates, and which example comes when.

A mixture's rates are its tasks' training examples (FORMATS.md#mixtures), if wanted
min(examples, limit) ** (1 / temperature). Its order is a function of the index alone:
over a period each component comes exactly as often as its rate says, evenly spread, so
that whoever knows the step knows what was seen.
"""

from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
import fractions
import functools
import hashlib
import math
import numbers
import re

import numpy as np

from clinometer.data.errors import DataError
from clinometer.data.errors import nearest
from clinometer.data.mixtures import aggregates

MIXTURES: dict[str, tuple[str, ...]] = {
    "glue": aggregates.GLUE,
    "superglue": aggregates.SUPERGLUE,
    "glue_superglue_squad": aggregates.GLUE + aggregates.SUPERGLUE + aggregates.SQUAD,
    "rainbow": aggregates.RAINBOW,
    "probes": aggregates.PROBES,
}
# Examples of a period, at most: 6 bytes each. The 17 of Tay et al. 2022 have 1,221,051.
_LONGEST_PERIOD = 1 << 22
_LARGEST_RATE = 1e30
# Of a rate that a user writes.
_MOST_DIGITS = 64
_LARGE_EXPONENT = re.compile(r"[eE][+-]?[\d_]{3}")

Rate = int | float | fractions.Fraction


def expand(
    mixture: str | Sequence[str], known: Collection[str]
) -> dict[str, Rate | None]:
    """The tasks of a mixture and the rates that it gives them; None => the task's own.

    Args:
      mixture: names of mixtures and tasks, as a list or with commas between them; a
        task may have a rate of its own ("glue,squad,copa=4000") or be that of a
        user's file ("path/to/my_task.py").
      known: the names of all tasks of ours.

    Raises:
      DataError: a name is unknown or comes twice, a rate is not a number above 0.
    """
    parts = mixture.split(",") if isinstance(mixture, str) else list(mixture)
    parts = [part.strip() for part in parts]
    if not any(parts):
        raise DataError(
            "An empty mixture; accepted are the names of mixtures "
            f"({', '.join(MIXTURES)}) and tasks, with commas between them."
        )
    rates: dict[str, Rate | None] = {}
    for part in parts:
        name, has_rate, text = part.partition("=")
        rate = _parse_rate(name, text) if has_rate else None
        if name in MIXTURES and has_rate:
            raise DataError(f"{part!r}: {name} is a mixture; only a task has a rate.")
        for task in MIXTURES.get(name, (name,)):
            if task not in known and ".py" not in task:
                raise DataError(_unknown(task, known))
            if task in rates:
                raise DataError(f"Mixture {mixture!r} has the task {task!r} twice.")
            rates[task] = rate
    return rates


def proportional(
    examples: Mapping[str, int],
    *,
    limit: int | None = None,
    temperature: float = 1.0,
) -> dict[str, Rate]:
    """Rates by numbers of examples: min(n, limit) ** (1 / temperature).

    Raises:
      DataError: a task would have the rate zero, `limit` is below 1, `temperature` is
        not above 0.
    """
    if limit is not None and limit < 1:
        raise DataError(f"Mixture limit {limit}; accepted is 1 or more, or none.")
    if not 0 < temperature < math.inf:
        raise DataError(f"Mixture temperature {temperature}; accepted is above 0.")
    rates: dict[str, Rate] = {}
    for name, count in examples.items():
        _check_rate(name, count)
        count = count if limit is None else min(count, limit)
        rates[name] = count if temperature == 1 else _power(count, temperature)
    return rates


def _power(count: int, temperature: float) -> float:
    try:
        return math.pow(count, 1 / temperature)
    except OverflowError:
        raise DataError(
            f"Mixture temperature {temperature} is too small: {count} examples to the "
            "power of its inverse are more than a number can hold."
        ) from None


class Interleaving:
    """A mixture as a function of the index.

    Attributes:
      names: the components.
      slots: how often each comes in a period; the realised rates.
      period: indices after which the order of the components repeats.
    """

    def __init__(self, rates: Mapping[str, Rate], sizes: Mapping[str, int], seed: int):
        """Lays out one period.

        Args:
          rates: of each component, in any unit.
          sizes: items of each component.
          seed: of the orders of their items.

        Raises:
          DataError: no component, a rate that is not above 0, an empty component,
            rates further apart than one in 4 million.
        """
        if not rates:
            raise DataError("A mixture needs at least one task.")
        for name, rate in rates.items():
            _check_rate(name, rate)
            if not sizes.get(name):
                raise DataError(f"Task {name!r} of the mixture has no example.")
        self.names = tuple(rates)
        self.slots = dict(zip(self.names, _slots(rates)))
        self.period = sum(self.slots.values())
        self._sizes = [sizes[name] for name in self.names]
        self._seed = seed
        # The j-th of w items is due at (2 j + 1) / 2 w of the period; where two are
        # due together, the component named first comes first.
        due = [(2 * np.arange(w) + 1) / w for w in self.slots.values()]
        order = np.argsort(np.concatenate(due), kind="stable")
        component = np.repeat(np.arange(len(due), dtype=np.int16), [*map(len, due)])
        rank = np.concatenate([np.arange(len(times), dtype=np.int32) for times in due])
        self._component, self._rank = component[order], rank[order]
        self._order = functools.lru_cache(2 * len(due))(self._draw_order)

    def locate(self, index: int) -> tuple[str, int]:
        """The component and which of its items is item `index` of the mixture."""
        component, number = self._place(index)
        epoch, position = divmod(number, self._sizes[component])
        return self.names[component], int(self._order(component, epoch)[position])

    def epochs(self, index: int) -> dict[str, float]:
        """How often each component's items were seen before item `index`."""
        periods, rest = divmod(index, self.period)
        seen = np.bincount(self._component[:rest], minlength=len(self.names))
        return {
            name: (periods * self.slots[name] + int(seen[k])) / self._sizes[k]
            for k, name in enumerate(self.names)
        }

    def _place(self, index: int) -> tuple[int, int]:
        """The component of item `index`, and how many of its items came before."""
        periods, slot = divmod(index, self.period)
        component = int(self._component[slot])
        rank = int(self._rank[slot])
        return component, periods * self.slots[self.names[component]] + rank

    def _draw_order(self, component: int, epoch: int) -> np.ndarray:
        return order(
            self._sizes[component], self._seed, self.names[component], str(epoch)
        )


def order(size: int, seed: int, *names: str) -> np.ndarray:
    """A permutation of `size` items, a function of the seed and of names."""
    text = "/".join([str(seed), *names])
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key)).permutation(size)


def _slots(rates: Mapping[str, Rate]) -> list[int]:
    """Whole numbers in the proportion of the rates, exact where a period is enough."""
    exact = [fractions.Fraction(rate) for rate in rates.values()]
    scale = math.lcm(*(rate.denominator for rate in exact))
    whole = [int(rate * scale) for rate in exact]
    divisor = math.gcd(*whole)
    whole = [count // divisor for count in whole]
    if sum(whole) <= _LONGEST_PERIOD:
        return whole
    total = sum(exact)
    slots = [round(rate / total * _LONGEST_PERIOD) for rate in exact]
    for name, count in zip(rates, slots):
        if not count:
            raise DataError(
                f"Task {name!r} has less than one in {_LONGEST_PERIOD:,} of the "
                "mixture's examples; raise its rate, or the temperature, or set a "
                "limit."
            )
    return slots


def _parse_rate(name: str, text: str) -> Rate:
    try:
        if len(text) > _MOST_DIGITS or _LARGE_EXPONENT.search(text):
            raise ValueError  # All digits would be written out.
        rate = fractions.Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise _bad_rate(name, text[:_MOST_DIGITS]) from None
    _check_rate(name, rate)
    return rate


def _check_rate(name: str, rate: Rate) -> None:
    if not isinstance(rate, numbers.Real) or not 0 < rate <= _LARGEST_RATE:
        raise _bad_rate(name, rate)


def _bad_rate(name: str, rate: Rate | str) -> DataError:
    return DataError(
        f"Task {name!r} of the mixture has the rate {rate}; accepted is a number above "
        f"0, up to {_LARGEST_RATE:g}. Leave out a task that is not to be trained on."
    )


def _unknown(name: str, known: Collection[str]) -> str:
    accepted = [*MIXTURES, *sorted(known)]
    near = nearest(name, accepted)
    hint = f" (did you mean {near!r}?)" if near else ""
    return (
        f"No task or mixture {name!r}{hint}; mixtures are {', '.join(MIXTURES)}, tasks "
        f"are {', '.join(sorted(known))}."
    )
