"""Argument checks of the Switch operations."""

_MOST_SLOTS = 2**31 - 1


def slots(op: str, num_experts: int, capacity: int) -> None:
    """Checks that the number of slots is positive and fits into 32 bits.

    Args:
        op: the name of the operation in error messages.
        num_experts: E.
        capacity: C, slots per expert.

    Raises:
        ValueError: if it does not; names the operation and the argument.
    """
    for name, value in (("num_experts", num_experts), ("capacity", capacity)):
        if value < 1:
            raise ValueError(f"{op}: {name}: must be at least 1, got {value}")
    if num_experts * capacity > _MOST_SLOTS:
        raise ValueError(
            f"{op}: capacity: {num_experts} experts of {capacity} slots exceed the "
            f"limit of {_MOST_SLOTS} slots"
        )
