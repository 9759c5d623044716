"""The rows of the probes are balanced, disjoint and follow their rules."""

import collections
import re

import pytest

from clinometer.data.corpus import embedded
from clinometer.data.store import tokenized_units
from clinometer.data.tasks import docstring_probes

TASKS = ("acceptability", "same_document", "cloze")
_VERBS = ("returns", "sets", "reads", "writes", "checks", "opens", "closes", "finds")
_NOUNS = ("value", "array", "file", "key", "name", "table", "window", "line", "folder")
_ENDS = ("for the caller with care", "when a flag is given", "in the order of calls")


def _sentence(k, j):
    """Returns a sentence that is unique to the document and position."""
    verb, noun = _VERBS[(k + j) % 8], _NOUNS[(k // 8 + 3 * j) % 9]
    letters = "".join(chr(97 + int(digit)) for digit in str(1000 + 10 * k + j))
    end = _ENDS[(k + j) % 3]
    return f"This function {verb} the {noun} of some {letters} {end}."


@pytest.fixture(scope="module")
def documents():
    return ["\n\n".join(_sentence(k, j) for j in range(2 + k % 5)) for k in range(900)]


@pytest.fixture(scope="module")
def made(documents):
    return docstring_probes.make(documents)


def _texts(row):
    return [value for key, value in row.items() if key not in ("label", "answer")]


def test_sentences_are_prose():
    text = """Return the sum of all the given numbers.

Some words wrap over two lines, and that is
no end of the sentence. A short one. The next `value` is plain enough to be kept.

>>> this is no sentence at all, but code to run.
x : array of the numbers that are to be added up here.
Args:
  axis: The axis along which the numbers are added.
  * Items that are sentences of their own are found too.

==========
x[0] = y[1] and then (a, b) -> `c` :ref:`d` or e.
No full stop at the end of this line of words
"""
    assert docstring_probes.sentences(text) == [
        "Return the sum of all the given numbers.",
        "Some words wrap over two lines, and that is no end of the sentence.",
        "The next `value` is plain enough to be kept.",
        "The axis along which the numbers are added.",
        "Items that are sentences of their own are found too.",
    ]


def test_only_validation_documents_are_used_and_each_in_one_split(documents, made):
    fraction = embedded.VALIDATION_FRACTION
    home = {}
    for text in documents:
        for sentence in docstring_probes.sentences(text):
            home[sentence] = text
    used = {split: set() for split in docstring_probes.SPLITS}
    for (task, split), rows in made.items():
        for row in rows:
            if task == "acceptability" and not row["label"]:
                continue  # swapped
            texts = [row["context"]] if task == "cloze" else _texts(row)
            for text in texts:
                for sentence in re.split(r"(?<=\.) ", text):
                    used[split].add(home[sentence])
    assert not used["train"] & used["validation"]
    for text in used["train"] | used["validation"]:
        assert tokenized_units.split_of(text, fraction) == "validation"
    wanted = [t for t in documents if tokenized_units.split_of(t, fraction) != "train"]
    assert len(used["train"]) + len(used["validation"]) == len(wanted) > 30
    assert 0.15 < len(used["validation"]) / len(wanted) < 0.35


def test_copied_sentences_are_left_out(documents, made):
    """Copies a sentence of a row into a pretraining or training document."""
    fraction = embedded.VALIDATION_FRACTION

    def first(rows):
        return next(row["sentence"] for row in rows if row["label"])

    home = {tokenized_units.split_of(text, fraction): text for text in documents}
    for split in docstring_probes.SPLITS:
        sentence = first(made["acceptability", split])
        copy = f"{home['train']}\n\n{sentence}"
        changed = docstring_probes.make([*documents, copy])
        texts = {row["sentence"] for row in changed["acceptability", split]}
        assert sentence not in texts and len(texts) > 20


def test_every_task_has_rows_and_labels_are_balanced(made):
    assert set(made) == {(t, s) for t in TASKS for s in docstring_probes.SPLITS}
    for (task, split), rows in made.items():
        assert len(rows) > 20
        assert split == "train" or len(rows) <= 512
        if task != "cloze":
            count = collections.Counter(row["label"] for row in rows)
            assert count[0] == count[1]


def test_swapped_sentences_have_their_words_in_swapped_pairs(made):
    for split in docstring_probes.SPLITS:
        rows = made["acceptability", split]
        for right, wrong in zip(rows[::2], rows[1::2], strict=True):
            assert (right["label"], wrong["label"]) == (1, 0)
            words, swapped = right["sentence"].split(), wrong["sentence"].split()
            for k in range(0, len(words) - 1, 2):
                assert swapped[k : k + 2] == [words[k + 1], words[k]]
            if len(words) % 2:
                assert swapped[-1] == words[-1]


def test_swapping_by_hand():
    rows = docstring_probes._acceptability([["One two three four five."]])
    assert list(rows) == [
        {"sentence": "One two three four five.", "label": 1},
        {"sentence": "two One four three five.", "label": 0},
    ]


def test_pairs_are_of_one_document_or_of_two(documents, made):
    together = collections.defaultdict(set)
    for text in documents:
        found = docstring_probes.sentences(text)
        for sentence in found:
            together[sentence].update(found)
    for split in docstring_probes.SPLITS:
        for row in made["same_document", split]:
            same = row["sentence2"] in together[row["sentence1"]]
            assert same == bool(row["label"])
            assert row["sentence1"] != row["sentence2"]


def test_the_answer_follows_the_phrase_which_stands_once(made):
    for split in docstring_probes.SPLITS:
        for row in made["cloze", split]:
            assert row["context"].count(row["phrase"]) == 1
            behind = row["context"].split(row["phrase"])[1].split()
            assert behind[0] == row["answer"]
            assert 8 <= len(row["context"].split()) <= 16


def test_rows_depend_on_the_documents_alone(documents, made):
    assert docstring_probes.make(documents) == made
    some = docstring_probes.make(documents[:400])["acceptability", "train"]
    assert some == made["acceptability", "train"][: len(some)]


def test_answers_are_common_words_each_about_as_often(documents, made):
    counts = collections.Counter()
    for text in documents:
        if tokenized_units.split_of(text, embedded.VALIDATION_FRACTION) == "train":
            words = re.findall(r"(?<=\s)[a-z]{3,}(?=\s)", text)
            counts.update(word for word in words if word != "the")
    common = sorted(counts.values(), reverse=True)[:64]
    for split, most in (("train", 16), ("validation", 8)):
        asked = collections.Counter(row["answer"] for row in made["cloze", split])
        assert max(asked.values()) == most
        assert all(counts[word] >= common[-1] for word in asked)
