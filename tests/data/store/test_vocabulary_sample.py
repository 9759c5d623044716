"""The sample is proportional to bytes and does not depend on the order of texts."""

import numpy as np
import pytest

from clinometer.data.store import vocabulary_sample


def _sample(texts, size):
    sample = vocabulary_sample.Sample(size)
    for text in texts:
        sample.add(text)
    return sample.texts()


def _documents(kind, total, rng):
    """Returns documents of 100 to 900 bytes, with about `total` bytes in all."""
    made, length = [], 0
    while length < total:
        made.append(
            f"{kind} {rng.integers(1 << 60)} ".ljust(rng.integers(100, 900), "x")
        )
        length += len(made[-1])
    return made


@pytest.mark.parametrize("file_at", ["start", "end"])
def test_every_file_has_the_share_of_its_bytes(file_at):
    rng = np.random.default_rng(0)
    large = _documents("large", 370_000, rng)
    small = [d for _ in range(50) for d in _documents("small", 12_600, rng)]
    texts = large + small if file_at == "start" else small + large
    sample = _sample(texts, 200_000)
    total = sum(map(len, sample))
    assert 200_000 <= total < 200_900
    share = sum(len(text) for text in sample if text.startswith("large")) / total
    # About 400 documents, so that the standard deviation is below 0.03.
    assert abs(share - 0.37) < 0.09


def test_it_is_the_documents_of_the_smallest_hashes_in_order(texts):
    assert _sample(texts, 1 << 30) == texts
    sample = _sample(texts, 50_000)
    assert sample == [text for text in texts if text in set(sample)]
    assert sorted(sample) == sorted(_sample(texts[::-1], 50_000))
    assert set(_sample(texts, 25_000)) < set(sample)
    assert sum(len(text) for text in sample) >= 50_000


def test_long_texts_are_taken_by_parts():
    lines = [f"line {k} ".ljust(79, "x") + "\n" for k in range(4000)]
    sample = _sample(["".join(lines)], 100_000)
    total = sum(map(len, sample))
    assert 100_000 <= total < 300_000
    assert len(sample) >= 2
    assert "".join(lines) == "".join(_sample(["".join(lines)], 1 << 30))


def test_equal_texts_count_as_often_as_they_are_there():
    assert _sample(["same"] * 5, 1 << 10) == ["same"] * 5
    assert _sample(["same"] * 5, 9) == ["same"] * 3
