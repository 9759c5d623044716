"""Seeded damage to files: changed bits and bytes, and wrong lengths."""

import numpy as np

KINDS = ("flip", "cut", "zeros", "insert", "empty", "overwrite", "append", "swap")


def damaged(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Returns a kind of damage and the damaged contents, which always differ."""
    kind = str(rng.choice(KINDS))
    # Mostly at nonzero bytes, because ArrayRecord pads files with zeros.
    used = np.flatnonzero(np.frombuffer(data, np.uint8))
    at = int(rng.choice(used) if rng.random() < 0.7 else rng.integers(len(data)))
    some = rng.bytes(int(rng.integers(1, 200)))
    changed = {
        "flip": data[:at] + bytes([data[at] ^ 1 << rng.integers(8)]) + data[at + 1 :],
        "cut": data[:at],
        "zeros": data[:at] + bytes(len(data[at : at + 64])) + data[at + 64 :],
        "insert": data[:at] + some[:8] + data[at:],
        "empty": b"",
        "overwrite": data[:at] + some + data[at + len(some) :],
        "append": data + some,
        "swap": data[at:] + data[:at],
    }[kind]
    return kind, changed if changed != data else data + b"x"


def misshapen(value: object, rng: np.random.Generator) -> object:
    """Returns a JSON value with one part, at any depth, replaced or removed."""
    others = [None, True, -1, 0, 1 << 70, 0.5, "", "text", [], {}, [1], {"a": 1}]
    if not isinstance(value, dict) or not value or rng.random() < 0.2:
        return others[rng.integers(len(others))]
    changed = dict(value)
    key = str(rng.choice(sorted(changed)))
    if rng.random() < 0.2:
        del changed[key]
    else:
        changed[key] = misshapen(changed[key], rng)
    return changed
