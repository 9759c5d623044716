"""The declared list of runs: architecture x size x seed, as a pure function."""

from collections.abc import Sequence
import dataclasses

from clinometer.train import errors


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a study."""

    model: str  # e.g. "transformer-pico".
    seed: int

    @property
    def name(self) -> str:
        """Its folder under OUT/runs."""
        return f"{self.model}-s{self.seed}"


def plan_runs(
    architectures: Sequence[str],
    sizes: Sequence[str],
    seeds: Sequence[int],
    *,
    replicate_seeds: Sequence[int] = (),
    replicate_largest: bool = False,
) -> list[PlannedRun]:
    """All runs of a study, without repeats, by architecture, size and seed.

    Args:
      architectures: e.g. ["transformer"].
      sizes: from small to large, operators allowed, e.g. ["pico", "NL4-nano"].
      seeds: every size is trained with each of them.
      replicate_seeds: further seeds of the first size: endpoints carry a slope's
        leverage, and two seeds show how far chance alone moves a loss.
      replicate_largest: give the last size these seeds, too.

    Raises:
      ConfigError: an empty list, or a negative seed.
    """
    for name, values in (
        ("architectures", architectures),
        ("sizes", sizes),
        ("seeds", seeds),
    ):
        if not values:
            raise errors.ConfigError(f"no {name} given; a study needs at least one")
    if min([*seeds, *replicate_seeds]) < 0:
        raise errors.ConfigError("seeds must be 0 or above")
    runs = []
    for architecture in architectures:
        for size in sizes:
            ends = {sizes[0], *([sizes[-1]] if replicate_largest else [])}
            extra = replicate_seeds if size in ends else ()
            for seed in (*seeds, *extra):
                runs.append(PlannedRun(f"{architecture}-{size}", seed))
    return list(dict.fromkeys(runs))
