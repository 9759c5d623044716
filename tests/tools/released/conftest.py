"""A small vocabulary for releases."""

import numpy as np
import pytest

from clinometer.data.store import vocabulary


@pytest.fixture(scope="session")
def spiece() -> bytes:
    """A SentencePiece model of 60 pieces, so of 160 ids."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, 5)) for _ in range(100)]
    texts = [" ".join(rng.choice(words, 200)) for _ in range(20)]
    return vocabulary.train(texts, 160).model
