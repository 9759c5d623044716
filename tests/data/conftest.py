"""A small corpus, its vocabulary and its store."""

import json

import numpy as np
import pytest

from clinometer.data.store import token_store
from clinometer.data.store import tokenization
from clinometer.data.store import vocabulary


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Returns 400 documents of words with Zipfian frequencies, from a fixed seed."""
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    words = ["".join(rng.choice(letters[:20], rng.integers(2, 9))) for _ in range(900)]
    return [
        "the value of "
        + " ".join(words[min(k, 900) - 1] for k in rng.zipf(1.3, rng.integers(50, 250)))
        for _ in range(400)
    ]


@pytest.fixture(scope="session")
def small_vocabulary(texts) -> vocabulary.Vocabulary:
    """Returns a vocabulary of 300 pieces and 100 sentinels."""
    return vocabulary.train(texts, 400)


@pytest.fixture(scope="session")
def corpus_file(texts, tmp_path_factory) -> str:
    """Returns the path of a file with the documents as JSON lines."""
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return str(path)


@pytest.fixture(scope="session")
def store(corpus_file, small_vocabulary, tmp_path_factory) -> token_store.TokenStore:
    """Returns a token store of the documents, with a tenth of them for validation."""
    path = tokenization.tokenize_corpus(
        [corpus_file],
        str(tmp_path_factory.mktemp("stores") / "small"),
        vocabulary=small_vocabulary,
        options=tokenization.TokenizationOptions(validation_fraction=0.1),
    )
    return token_store.TokenStore.open(path)
