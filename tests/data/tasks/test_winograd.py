"""Winograd schemas: rows by hand, following T5's description."""

import json

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example


def wsc(text, noun, pronoun, index, label=None):
    target = {
        "span1_text": noun,
        "span1_index": 0,
        "span2_text": pronoun,
        "span2_index": index,
    }
    row = {"text": text, "target": target, "idx": 0}
    return json.dumps(row if label is None else {**row, "label": label}) + "\n"


MITCHELL = ("Mitchell asked Tom if he could lend some money.", "Tom", "he", 4)


def test_wsc_stars_the_pronoun_and_asks_for_the_noun(read):
    (example,) = read("wsc", {"WSC/val.jsonl": wsc(*MITCHELL, False)}).examples
    assert example == Example(
        "wsc: Mitchell asked Tom if *he* could lend some money.", "Tom", 0
    )


def test_only_right_nouns_are_taught(read):
    text = wsc(*MITCHELL, False) + wsc(*MITCHELL, True)
    loaded = read("wsc", {"WSC/train.jsonl": text}, "train")
    assert [example.answer for example in loaded.examples] == [1]
    assert sum(loaded.dropped.values()) == 1


def test_wsc_test_rows_have_no_label(read):
    (example,) = read("wsc", {"WSC/test.jsonl": wsc(*MITCHELL)}, "test").examples
    assert example.answer is None


@pytest.mark.parametrize(
    ("text", "pronoun", "index", "starred"),
    [
        # As in T5, for the two rows of the release in which the index is wrong.
        (
            'They laughed. "Good for him," he said. ',
            "him",
            4,
            'They laughed. "Good for *him* ," he said.',
        ),
        (
            "They might want to use it , or not.",
            "it",
            4,
            "They might want to use *it* , or not.",
        ),
        ("Tom said they ran.", "They", 2, "Tom said *they* ran."),
        ("He said that He ran.", "He", 3, "He said that *He* ran."),
    ],
)
def test_the_pronoun_is_found(read, text, pronoun, index, starred):
    rows = wsc(text, "Tom", pronoun, index, True)
    (example,) = read("wsc", {"WSC/val.jsonl": rows}).examples
    assert example.inputs == "wsc: " + starred


def test_a_text_without_its_pronoun_is_an_error(read):
    rows = wsc("Tom said that he had gone away.", "Tom", "she", 3, True)
    with pytest.raises(DataError, match="val.jsonl:1: no word .* the pronoun 'she'"):
        read("wsc", {"WSC/val.jsonl": rows})


def test_the_noun_has_the_capitals_of_the_text(read):
    rows = wsc("I saw the dog before it ran.", "The dog", "it", 5, True)
    (example,) = read("wsc", {"WSC/val.jsonl": rows}).examples
    assert example.targets == "the dog"


def test_wsc_is_right_where_the_match_says_what_the_label_says():
    examples = [Example("", "the old man", label) for label in (1, 0, 1, 0)]
    said = ["old man", "the dog", "a dog", "The Man"]
    assert registry.get("wsc").score(examples, said) == {"accuracy": 50}


DPR = """The bee landed on the flower because it had pollen.
it
The bee,the flower
the flower

Bob said that he, not Tom, paid since he could.
he
Bob, Tom
bob
"""


def test_dpr(read):
    # Written by hand in the release's format, as it is not in the shared data.
    assert read("dpr", {"dpr/train.c.txt": DPR}, "train").examples == [
        Example(
            "wsc: The bee landed on the flower because *it* had pollen.",
            "the flower",
            1,
        ),
        Example("wsc: Bob said that *he*, not Tom, paid since he could.", "Bob", 1),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DPR.replace("bob", "Ann"), "txt:6: the answer 'Ann' is not one of"),
        (DPR + "Bob ran.\nhe\n", "txt:10: 2 lines, not 4: sentence, pronoun"),
    ],
)
def test_bad_dpr(read, text, reason):
    with pytest.raises(DataError, match=reason):
        read("dpr", {"test.c.txt": text})


@pytest.mark.parametrize(
    ("premise", "hypothesis", "starred", "phrase"),
    [
        (
            "The fish ate the worm. It was tasty.",
            "The worm was tasty.",
            "The fish ate the worm. *It* was tasty.",
            "The worm",
        ),
        # The pronoun is followed by punctuation, and the phrase is last.
        (
            "The door of the shop closed after him. He ran.",
            "The door of the shop closed after Steve.",
            "The door of the shop closed after *him* . He ran.",
            "Steve",
        ),
        # A possessive ending is not part of the answer.
        (
            "Jane thinks that her house is nice.",
            "Joan's house is nice.",
            "Jane thinks that *her* house is nice.",
            "Joan",
        ),
        # The second of two pronouns has more words around it in common.
        (
            "She knew it, so Ann told her about the car.",
            "Ann told Sue about the car.",
            "She knew it, so Ann told *her* about the car.",
            "Sue",
        ),
        (
            "Fred asked if he could go.",
            "He asked if the old man could go.",
            "Fred asked if *he* could go.",
            "the old man",
        ),
        # If no words around a pronoun are in common, the last pronoun is used.
        (
            "They sang, and I saw over it.",
            "I saw the man.",
            "They sang, and I saw over *it* .",
            "the man",
        ),
    ],
)
def test_wnli_finds_the_pronoun_and_its_phrase(
    read, premise, hypothesis, starred, phrase
):
    text = f"index\tsentence1\tsentence2\tlabel\n0\t{premise}\t{hypothesis}\t1\n"
    (example,) = read("wnli", {"WNLI/dev.tsv": text}).examples
    assert example == Example("wsc: " + starred, phrase, 1)


def test_wnli_is_never_taught(read):
    text = "index\tsentence1\tsentence2\tlabel\n0\tTom said he ran.\tTom ran.\t1\n"
    with pytest.raises(DataError, match="WNLI is for evaluation only"):
        read("wnli", {"WNLI/train.tsv": text}, "train")
    with pytest.raises(DataError, match="none of the pronouns"):
        read("wnli", {"WNLI/dev.tsv": text.replace(" he ", " I ")})


def test_wnli_of_the_shared_data_has_a_phrase_of_its_hypothesis(read_shared):
    for example in read_shared("wnli", "glue/WNLI/dev.tsv").examples:
        assert example.targets
        assert example.inputs.count("*") == 2


@pytest.mark.parametrize(
    ("file", "counts"),
    [("val", (66, 38)), ("train32", (0, 32)), ("dev32", (22, 10))],
)
def test_wsc_of_the_shared_data(read_shared, file, counts):
    examples = read_shared("wsc", f"superglue/WSC/{file}.jsonl").examples
    answers = [example.answer for example in examples]
    assert (answers.count(0), answers.count(1)) == counts
    for example in examples:
        text = example.inputs.replace("*", "")
        assert example.targets in text or example.targets.lower() in text.lower()
