"""N-gram overlap of texts written by hand."""

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.pretraining import overlap


def _results(sets, documents, n):
    finder = overlap.Finder(sets.items(), n)
    for document in documents:
        finder.add(document)
    return finder, {result.name: result for result in finder.results()}


def test_words_are_compared_without_case_punctuation_and_blanks():
    assert overlap.split_words("It's  a Test,\n(x_1)!") == [
        "it",
        "s",
        "a",
        "test",
        "x_1",
    ]
    assert overlap.split_words("ﬁne １２") == ["fine", "12"]
    assert overlap.split_words("été") == ["été"]


def test_hand_made_overlaps():
    sets = {
        "one": [
            ["the cat sat on the mat"],  # 4 trigrams, all there
            ["The cat sat, on a mat"],  # "the cat sat", "cat sat on" of 4
            ["a dog ran away"],  # none of 2
            ["too short"],
            ["on the mat", "nothing of this"],  # 1 of 2: n-grams keep to one text
        ],
        "other": [["mat the on"], ["dog ran", "ran away"]],
    }
    documents = ["Now THE cat; sat on\nthe mat.", "A dog ran", "away mat the", "on"]
    finder, found = _results(sets, documents, 3)
    assert (finder.documents, finder.words) == (4, 14)
    # "a dog ran" is in the corpus too.
    assert found["one"] == overlap.Overlap("one", 5, 1, 4, 1, 12, 8)
    assert found["other"] == overlap.Overlap("other", 2, 1, 0, 0, 1, 0)


def test_a_corpus_has_its_own_ngrams_and_no_others():
    rng = np.random.default_rng(0)
    words = [f"w{k}" for k in range(30)]
    texts = [" ".join(rng.choice(words, rng.integers(1, 40))) for _ in range(60)]
    for n in (1, 2, 3, 8):

        def grams(text, n=n):
            parts = text.split()
            return {tuple(parts[k : k + n]) for k in range(len(parts) - n + 1)}

        _, found = _results({"set": [[text] for text in texts[:30]]}, texts[30:], n)
        corpus = set().union(*map(grams, texts[30:]))
        rows = [
            [tuple(text.split()[k : k + n]) in corpus for k in range(size)]
            for text in texts[:30]
            for size in [max(0, len(text.split()) - n + 1)]
        ]
        assert found["set"] == overlap.Overlap(
            name="set",
            rows=30,
            rows_short=sum(not row for row in rows),
            rows_any=sum(map(any, rows)),
            rows_most=sum(bool(row) and sum(row) >= 0.7 * len(row) for row in rows),
            ngrams=sum(map(len, rows)),
            ngrams_found=sum(map(sum, rows)),
        )


def test_a_set_without_ngrams_is_an_error():
    with pytest.raises(DataError, match="No row .* has 3 consecutive words"):
        overlap.Finder([("set", [["two words"]]), ("empty", [])], 3)
    with pytest.raises(DataError, match="n-gram length is 0; accepted is 1 or more"):
        overlap.Finder([("set", [["two words"]])], 0)


@pytest.mark.parametrize("batch_tokens", [1000, 1 << 20])
def test_a_stores_documents_are_its_texts(store, texts, batch_tokens, monkeypatch):
    monkeypatch.setattr(overlap, "_BATCH_TOKENS", batch_tokens)
    documents = [
        document
        for split in ("train", "validation")
        for document in overlap.store_documents(store, split)
    ]
    assert sorted(documents) == sorted(texts)
