"""SQuAD: a question by hand, and the shared part of its development set."""

import json

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example


def squad(*answers, context="The Café's (1st) tea-room,\nU.S.\u00a0$5 only.", **more):
    question = {
        "id": "5a",
        "question": 'What is  "it"?',
        "answers": [{"text": text, "answer_start": 0} for text in answers],
        **more,
    }
    paragraph = {"context": context, "qas": [question]}
    return json.dumps(
        {"version": "1.1", "data": [{"title": "T", "paragraphs": [paragraph]}]}
    )


def test_a_worked_question(read):
    files = {"squad/dev-v1.1.json": squad("tea-room", "the tea-room, U.S.")}
    # Spaces surround all but ASCII letters, digits and _; runs of blanks become one.
    assert read("squad", files).examples == [
        Example(
            'question: What is " it " ? context: The Caf é \' s ( 1st ) tea - room , '
            "U . S . \u00a0 $ 5 only .",
            "tea - room",
            ("tea - room", "the tea - room , U . S ."),
        )
    ]


def test_the_best_answer_counts_and_spaces_do_not_matter():
    task = registry.get("squad")
    examples = [Example("", "", ("tea - room", "the room")), Example("", "", ("Rome",))]
    found = task.score(examples, ["A tea - room!", "in Rome"])
    assert found["em"] == 50
    assert found["f1"] == pytest.approx(100 * (1 + 2 / 3) / 2)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (squad(), "json#5a: no answer, as in SQuAD 2.0; this task uses version 1.1"),
        (squad("x", question=3), "json#5a: field 'question' is int, not a string"),
        ('{"data": 3}', "json: field 'data' is not a list"),
        ("[]", "json: not a JSON object, but list"),
        ("{", "json: not valid JSON"),
    ],
)
def test_bad_files(read, content, reason):
    with pytest.raises(DataError, match=reason):
        read("squad", {"dev-v1.1.json": content})


def test_the_shared_questions(read_shared, shared_dir):
    loaded = read_shared("squad", "squad/xquad.en.json")
    assert len(loaded.examples) == 1190
    for example in loaded.examples:
        question, context = example.inputs.split(" context: ", 1)
        assert question.startswith("question: ")
        (answer,) = example.answer
        assert answer == example.targets
        assert answer in context
    release = json.loads((shared_dir / "data/squad/xquad.en.json").read_text())
    paragraphs = [p for article in release["data"] for p in article["paragraphs"]]
    assert (len(release["data"]), len(paragraphs)) == (48, 240)
    for paragraph in paragraphs:
        for question in paragraph["qas"]:
            (answer,) = question["answers"]
            start = answer["answer_start"]
            text = answer["text"]
            assert paragraph["context"][start : start + len(text)] == text
