"""Checks of what the Switch operations are given, before anything is traced."""

_MOST_SLOTS = 2**31 - 1


def slots(op: str, num_experts: int, capacity: int) -> None:
    """Requires at least one slot, and a number of slots that fits 32 bits."""
    for name, value in (("num_experts", num_experts), ("capacity", capacity)):
        if value < 1:
            raise ValueError(f"{op}: {name}: must be at least 1, got {value}")
    if num_experts * capacity > _MOST_SLOTS:
        raise ValueError(
            f"{op}: capacity: {num_experts} experts of {capacity} slots are more than "
            f"{_MOST_SLOTS} slots"
        )
