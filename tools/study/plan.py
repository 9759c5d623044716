"""Makes the list of runs of a study: architecture x size x seed."""

from collections.abc import Sequence
import dataclasses

from clinometer.train import errors


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """A run of a study.

    Attributes:
        model: the model's name, e.g. "transformer-pico".
        seed: seed of the run.
    """

    model: str
    seed: int

    @property
    def name(self) -> str:
        """The name of its folder under OUT/runs."""
        return f"{self.model}-s{self.seed}"


def plan_runs(
    architectures: Sequence[str],
    sizes: Sequence[str],
    seeds: Sequence[int],
    *,
    replicate_seeds: Sequence[int] = (),
    replicate_largest: bool = False,
) -> list[PlannedRun]:
    """Returns the runs of a study, without duplicates.

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
