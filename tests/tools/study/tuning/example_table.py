"""A table of rates with one entry, as a sweep would write it."""

from clinometer.tools.study.tuning import table

SETTINGS = {"train_steps": 3000, "data.batch_size": 4, "model.dtype": "float32"}


def size(width, rate, **changes):
    fields = {
        "width": width,
        "model": f"transformer-DM{width}-PI",
        "rate": rate,
        "losses": (
            table.Point(rate=0.015, loss=4.5),
            table.Point(rate=0.03, loss=4.4),
            table.Point(rate=0.06, loss=None),
        ),
        "interior": True,
        "vertex": rate,
        "cliff": 0.06,
        "remarks": (),
    }
    return table.Size(**(fields | changes))


def entry(**changes):
    fields = {
        "architecture": "transformer",
        "layers": (2, 2),
        "settings": SETTINGS,
        "corpus_hash": "c0ffee",
        "vocabulary_sha256": "beef",
        "seed": 1_000_000,
        "curvature": 0.26,
        "curvature_error": 0.05,
        "spread": 0.018,
        "sizes": (size(16, 0.036), size(128, 0.018)),
        "check": table.Check(
            width=64,
            rate=0.0226786,
            above=4.2,
            below=4.21,
            offset=-0.055,
            offset_error=0.14,
            passed=True,
        ),
        "measured": {"date": "2026-01-31", "host_cpu": "AMD EPYC"},
    }
    return table.Entry(**(fields | changes))


def made(*entries):
    return table.Table(entries=entries or (entry(),))
