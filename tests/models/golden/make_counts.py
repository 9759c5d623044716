"""Writes `counts.json`, the counts of every architecture at every size.

Run it after an intended change of a count or after adding an architecture, and review
the diff:

    python -m clinometer.tests.models.golden.make_counts
"""

import json
import pathlib

from clinometer import models

PATH = pathlib.Path(__file__).resolve().parent / "counts.json"
FIELDS = (
    "params_total",
    "params_embedding",
    "params_active",
    "macs_forward_batch",
    "flops_forward",
)


def snapshot() -> dict[str, dict[str, int]]:
    """Returns {model: {count: value}} at the papers' batch, 128 x 512 / 114."""
    names = [f"{arch}-{size}" for arch in models.ARCHITECTURES for size in models.SIZES]
    counted = {name: models.counts.count(name, trace=False) for name in names}
    return {
        name: {field: getattr(counts, field) for field in FIELDS}
        for name, counts in counted.items()
    }


if __name__ == "__main__":
    lines = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in snapshot().items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
