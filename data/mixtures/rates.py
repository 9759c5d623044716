"""Mixtures of tasks, their rates and the order of their examples.

By default, tasks are mixed in proportion to their numbers of training examples
(FORMATS.md#mixtures), optionally as min(examples, limit) ** (1 / temperature). The
order is a deterministic function of the index: within a period, each task occurs
exactly as often as its rate says, evenly spaced. The step therefore determines what has
been seen.
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
# Most examples in a period, at 6 bytes each. The 17 tasks of Tay et al. 2022 have a
# period of 1,221,051.
_LONGEST_PERIOD = 1 << 22
_LARGEST_RATE = 1e30
# Limits for a rate that a user writes.
_MOST_DIGITS = 64
_LARGE_EXPONENT = re.compile(r"[eE][+-]?[\d_]{3}")

Rate = int | float | fractions.Fraction


def expand(
    mixture: str | Sequence[str], known: Collection[str]
) -> dict[str, Rate | None]:
    """Returns the tasks of a mixture with their rates.

    Args:
        mixture: names of mixtures and tasks, as a list or separated by commas. A task
            may be given a rate ("glue,squad,copa=4000"), or be defined in a user's file
            ("path/to/my_task.py").
        known: the names of Clinometer's tasks.

    Returns:
        Task -> its rate in the mixture; None => the task's default rate.

    Raises:
        DataError: a name is unknown or occurs twice, or a rate is not a number above 0.
    """
    parts = mixture.split(",") if isinstance(mixture, str) else list(mixture)
    parts = [part.strip() for part in parts]
    if not any(parts):
        raise DataError(
            "The mixture is empty; accepted are names of mixtures "
            f"({', '.join(MIXTURES)}) and tasks, separated by commas."
        )
    rates: dict[str, Rate | None] = {}
    for part in parts:
        name, has_rate, text = part.partition("=")
        rate = _parse_rate(name, text) if has_rate else None
        if name in MIXTURES and has_rate:
            raise DataError(
                f"{part!r}: {name} is a mixture; only a task can be given a rate."
            )
        for task in MIXTURES.get(name, (name,)):
            if task not in known and ".py" not in task:
                raise DataError(_unknown(task, known))
            if task in rates:
                raise DataError(f"Mixture {mixture!r} contains task {task!r} twice.")
            rates[task] = rate
    return rates


def proportional(
    examples: Mapping[str, int],
    *,
    limit: int | None = None,
    temperature: float = 1.0,
) -> dict[str, Rate]:
    """Returns the rates of tasks, min(n, limit) ** (1 / temperature).

    Args:
        examples: task -> n, its number of examples.
        limit: limit on n, as in T5's examples-proportional mixing; None => none.
        temperature: mixing temperature; 1 => proportional to min(n, limit).

    Raises:
        DataError: a task has no examples, `limit` is below 1, or `temperature` is not
            above 0.
    """
    if limit is not None and limit < 1:
        raise DataError(f"Mixture limit is {limit}; accepted is 1 or more, or None.")
    if not 0 < temperature < math.inf:
        raise DataError(
            f"Mixture temperature is {temperature}; accepted is any finite number "
            "above 0."
        )
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
            f"Mixture temperature {temperature} is too small: {count} to the power of "
            "its inverse overflows."
        ) from None


class Interleaving:
    """The order of the items of a mixture, as a function of the index.

    Attributes:
        names: names of the components.
        slots: component -> number of its items in a period, the realised rate.
        period: number of items after which the order of the components repeats.
    """

    def __init__(self, rates: Mapping[str, Rate], sizes: Mapping[str, int], seed: int):
        """Lays out one period.

        Args:
            rates: component -> its rate, in any unit.
            sizes: component -> its number of items.
            seed: seed of the order of each component's items.

        Raises:
            DataError: there is no component, a rate is not above 0, a component is
                empty, or a component would get less than one in 4 million items.
        """
        if not rates:
            raise DataError("A mixture needs at least one task.")
        for name, rate in rates.items():
            _check_rate(name, rate)
            if not sizes.get(name):
                raise DataError(f"Task {name!r} of the mixture has no examples.")
        self.names = tuple(rates)
        self.slots = dict(zip(self.names, _slots(rates)))
        self.period = sum(self.slots.values())
        self._sizes = [sizes[name] for name in self.names]
        self._seed = seed
        # The j-th of w items is due at (2 j + 1) / (2 w) of the period. Ties go to the
        # component that is named first.
        due = [(2 * np.arange(w) + 1) / w for w in self.slots.values()]
        order = np.argsort(np.concatenate(due), kind="stable")
        component = np.repeat(np.arange(len(due), dtype=np.int16), [*map(len, due)])
        rank = np.concatenate([np.arange(len(times), dtype=np.int32) for times in due])
        self._component, self._rank = component[order], rank[order]
        self._order = functools.lru_cache(2 * len(due))(self._draw_order)

    def locate(self, index: int) -> tuple[str, int]:
        """Returns the (component, index in the component) of an item of the mixture."""
        component, number = self._place(index)
        epoch, position = divmod(number, self._sizes[component])
        return self.names[component], int(self._order(component, epoch)[position])

    def epochs(self, index: int) -> dict[str, float]:
        """Returns the epochs of each component that precede item `index`."""
        periods, rest = divmod(index, self.period)
        seen = np.bincount(self._component[:rest], minlength=len(self.names))
        return {
            name: (periods * self.slots[name] + int(seen[k])) / self._sizes[k]
            for k, name in enumerate(self.names)
        }

    def _place(self, index: int) -> tuple[int, int]:
        """Returns the component of item `index` and the number of its earlier items."""
        periods, slot = divmod(index, self.period)
        component = int(self._component[slot])
        rank = int(self._rank[slot])
        return component, periods * self.slots[self.names[component]] + rank

    def _draw_order(self, component: int, epoch: int) -> np.ndarray:
        return order(
            self._sizes[component], self._seed, self.names[component], str(epoch)
        )


def order(size: int, seed: int, *names: str) -> np.ndarray:
    """Returns a permutation of `size` items that depends on the seed and the names.

    Args:
        size: number of items.
        seed: seed of the permutation.
        *names: strings that distinguish permutations of the same seed.

    Returns:
        int64 [size].
    """
    text = "/".join([str(seed), *names])
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key)).permutation(size)


def _slots(rates: Mapping[str, Rate]) -> list[int]:
    """Returns integers proportional to the rates, rounded if the period is too long."""
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
                "mixture's examples; increase its rate or the temperature, or set a "
                "limit."
            )
    return slots


def _parse_rate(name: str, text: str) -> Rate:
    try:
        if len(text) > _MOST_DIGITS or _LARGE_EXPONENT.search(text):
            raise ValueError  # Fraction would expand all digits.
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
        f"0, up to {_LARGEST_RATE:g}. To train without the task, remove it from the "
        "mixture."
    )


def _unknown(name: str, known: Collection[str]) -> str:
    accepted = [*MIXTURES, *sorted(known)]
    near = nearest(name, accepted)
    hint = f" (did you mean {near!r}?)" if near else ""
    return (
        f"No task or mixture {name!r}{hint}; the mixtures are {', '.join(MIXTURES)}, "
        f"and the tasks are {', '.join(sorted(known))}."
    )
