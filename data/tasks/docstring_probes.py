"""Generates the rows of the probes from the embedded corpus.

Only documents of the corpus's validation split are used, which no model is pretrained
on, and only sentences that do not occur in pretraining documents. A quarter of the
documents is used for the validation splits of the tasks. Random choices depend on
hashes of the texts.

  acceptability   is this sentence the original, or are its words swapped in pairs?
  same_document   are these two sentences from the same document?
  cloze           which word follows this phrase in the context?
"""

import collections
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence
import hashlib
import re

import numpy as np

from clinometer.data.corpus import embedded
from clinometer.data.store import tokenized_units

Row = dict[str, str | int]

SPLITS = ("train", "validation")
_VALIDATION_SHARE = 0.25
_VALIDATION_ROWS = 512  # limit for a task; the rows are evenly spaced over all rows

# Limits on the words of a sentence, and the fraction of them that must be plain words,
# to exclude code.
_FEWEST_WORDS, _MOST_WORDS = 6, 24
_PLAIN_SHARE = 0.8
_PLAIN_WORD = re.compile(r"[(\"']?[A-Za-z][a-z'-]*[,;:)\"']*\.?")
_SENTENCE_END = re.compile(r"(?<=[.!?:])\s+(?=[A-Z`])")
# Starts of list items ("name: ...", "- ..."), and lines that contain no sentences.
_ITEM = re.compile(r"\s*(?:[-*] |\*{0,2}`{0,2}\w+`{0,2}(?: ?\([^)]*\))?: |\d+\. )")
_NO_SENTENCE = re.compile(r"\s*(?:>>>|\.\.\. |[-=~^]{3,}|\.\. |\w+ : )")

_PAIRS = 8  # limit for a document; the pairs that share the most words
_PHRASE_WORDS = 3
# The number of different answers in cloze, the most frequent words in pretraining. Each
# is asked for about equally often, so that a constant answer is rarely correct and
# pretraining helps.
_ANSWERS = 64
_ANSWER = re.compile(r"(?!the$)[a-z]{3,}")  # EM and F1 ignore articles.
_CONTEXT_WORDS = (8, 16)
# Questions per answer. With few, pretraining helps; with 128, it made no difference.
_QUESTIONS = {"train": 16, "validation": _VALIDATION_ROWS // _ANSWERS}


def make(documents: Iterable[str]) -> dict[tuple[str, str], list[Row]]:
    """Returns the rows of each (task, split).

    Excludes sentences that also occur in pretraining documents and, from the validation
    splits, sentences of the tasks' training documents.

    Args:
        documents: all documents of the embedded corpus.
    """
    fraction = embedded.VALIDATION_FRACTION
    pretraining: set[str] = set()
    held_out: dict[str, list[list[str]]] = {split: [] for split in SPLITS}
    for text in documents:
        found = sentences(text)
        if tokenized_units.split_of(text, fraction) == "train":
            pretraining.update(found)
        else:
            share = _rng("split", text).random()
            split = "validation" if share < _VALIDATION_SHARE else "train"
            held_out[split].append(found)
    train = _without(held_out["train"], pretraining)
    taught = pretraining.union(*train)
    answers = _commonest_words(pretraining)
    rows = {}
    for split, found in (
        ("train", train),
        ("validation", _without(held_out["validation"], taught)),
    ):
        rows["acceptability", split] = list(_acceptability(found))
        rows["same_document", split] = list(_same_document(found))
        rows["cloze", split] = list(_cloze(found, split, answers))
    return {
        key: _spread(made, _VALIDATION_ROWS) if key[1] == "validation" else made
        for key, made in rows.items()
    }


def _without(documents: list[list[str]], known: set[str]) -> list[list[str]]:
    return [[s for s in document if s not in known] for document in documents]


def sentences(text: str) -> list[str]:
    """Returns the distinct plain-English sentences of a docstring, in order."""
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        item = _ITEM.match(line)
        if not line.strip() or item or _NO_SENTENCE.match(line):
            blocks.append([])
        if item:
            line = line[item.end() :]
        if not _NO_SENTENCE.match(line):
            blocks[-1].append(line)
    found = []
    for block in blocks:
        paragraph = " ".join(" ".join(block).split())
        found += filter(_is_plain, _SENTENCE_END.split(paragraph))
    return list(dict.fromkeys(found))


def _is_plain(sentence: str) -> bool:
    words = sentence.split()
    return (
        _FEWEST_WORDS <= len(words) <= _MOST_WORDS
        and sentence.endswith(".")
        and sum(bool(_PLAIN_WORD.fullmatch(word)) for word in words)
        >= _PLAIN_SHARE * len(words)
    )


def _acceptability(documents: Iterable[Sequence[str]]) -> Iterator[Row]:
    """Yields each sentence unchanged and swapped, so that both labels are as frequent.

    All words are swapped in pairs. (With two or three swaps per sentence, the study's
    nano stays at chance for 600 steps.)
    """
    for sentence in dict.fromkeys(s for document in documents for s in document):
        words = sentence.split()
        swapped: list[str] = []
        for place in range(0, len(words), 2):
            swapped += reversed(words[place : place + 2])
        if swapped != words:
            yield {"sentence": sentence, "label": 1}
            yield {"sentence": " ".join(swapped), "label": 0}


def _same_document(documents: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Yields pairs of sentences from one document, each followed by a pair from two."""
    filled = [document for document in documents if document]
    for own in filled:
        rng = _rng("same_document", *own)
        pairs = [(a, b) for k, a in enumerate(own) for b in own[k + 1 :]]
        pairs.sort(key=_shared_words, reverse=True)
        for first, second in pairs[:_PAIRS]:
            other = filled[rng.integers(len(filled))]
            stranger = other[rng.integers(len(other))]
            if other is own or stranger in own or first in other:
                continue
            yield {"sentence1": first, "sentence2": second, "label": 1}
            yield {"sentence1": first, "sentence2": stranger, "label": 0}


def _shared_words(pair: tuple[str, str]) -> int:
    first, second = (set(text.lower().split()) for text in pair)
    return len(first & second)


def _commonest_words(found: Iterable[str]) -> frozenset[str]:
    counts = collections.Counter(
        word for text in found for word in text.split() if _ANSWER.fullmatch(word)
    )
    # Ties are broken alphabetically, because the order of a set is not reproducible.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return frozenset(ranked[:_ANSWERS])


def _cloze(
    documents: Iterable[Sequence[str]], split: str, answers: frozenset[str]
) -> Iterator[Row]:
    """Yields phrases that occur in a context once, with the word that follows them."""
    questions = [
        row
        for document in documents
        for context in _contexts(document)
        for row in _questions(context, answers)
    ]
    asked: collections.Counter[str] = collections.Counter()
    for place in _rng("cloze", split).permutation(len(questions)):
        answer = questions[place]["answer"]
        asked[answer] += 1
        if asked[answer] <= _QUESTIONS[split]:
            yield questions[place]


def _contexts(document: Iterable[str]) -> Iterator[list[str]]:
    """Yields the words of as many consecutive sentences as fit into a context."""
    fewest, most = _CONTEXT_WORDS
    words: list[str] = []
    for sentence in [*document, ""]:
        following = sentence.split()
        if following and len(words) + len(following) <= most:
            words += following
            continue
        if len(words) >= fewest:
            yield words
        words = following


def _questions(words: Sequence[str], answers: frozenset[str]) -> Iterator[Row]:
    context = " ".join(words)
    for place in range(len(words) - _PHRASE_WORDS):
        phrase = " ".join(words[place : place + _PHRASE_WORDS])
        answer = words[place + _PHRASE_WORDS]
        if answer in answers and context.count(phrase) == 1:
            yield {"phrase": phrase, "context": context, "answer": answer}


def _spread(rows: list[Row], number: int) -> list[Row]:
    """Returns at most `number` rows, evenly spaced, keeping pairs of rows together."""
    pairs = [rows[k : k + 2] for k in range(0, len(rows), 2)]
    kept = min(len(pairs), number // 2)
    return [row for k in range(kept) for row in pairs[k * len(pairs) // kept]]


def _rng(*names: str) -> np.random.Generator:
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    key = int.from_bytes(digest[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))
