"""The probes' folder, which is generated once, and their examples."""

import json
import shutil

import pytest

from clinometer.data.corpus import embedded
from clinometer.data.tasks import docstring_probes
from clinometer.data.tasks import load
from clinometer.data.tasks import probes
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Row

WORDS = ("returns", "sets", "reads", "writes", "checks", "opens", "closes", "finds")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns the folder for a corpus of 200 documents, mostly for validation."""
    path = tmp_path_factory.mktemp("probes")
    sentences = [
        f"This function {WORDS[k % 8]} the {name} part{j} of item{k} for its caller."
        for k in range(200)
        for j, name in enumerate(("first", "second", "third"))
    ]
    lines = [
        json.dumps({"text": " ".join(sentences[k : k + 3])}) + "\n"
        for k in range(0, len(sentences), 3)
    ]
    (path / "corpus.jsonl").write_text("".join(lines))
    with pytest.MonkeyPatch.context() as patch:
        corpus = str(path / "corpus.jsonl")
        patch.setattr(embedded, "ensure_corpus", lambda *_: corpus)
        patch.setattr(embedded, "corpus_key", lambda: "key")
        patch.setattr(embedded, "VALIDATION_FRACTION", 0.9)
        patch.setattr(docstring_probes, "_PLAIN_SHARE", 0.5)
        yield probes.ensure_folder(str(path / "cache"))


def test_the_folder_is_made_once(folder, monkeypatch):
    def fail(_):
        raise AssertionError("made again")

    monkeypatch.setattr(docstring_probes, "make", fail)
    assert probes.ensure_folder(str(folder.parent)) == folder
    assert sorted(file.name for file in folder.parent.iterdir()) == [folder.name]


def test_other_rules_make_another_folder(folder, monkeypatch):
    monkeypatch.setattr(probes.inspect, "getsource", lambda _: "other rules")
    other = probes.ensure_folder(str(folder.parent))
    assert other != folder
    shutil.rmtree(other)


def test_examples(folder):
    for task in probes.TASKS:
        assert registry.get(task.name) is task
        train = load.load(task, folder, "train")
        validation = load.load(task, folder, "validation")
        assert len(train) > len(validation) > 20
        assert not {e.inputs for e in train} & {e.inputs for e in validation}
        for example in train:
            assert example.inputs.startswith(f"{task.name} ")
    example = load.load(probes.ACCEPTABILITY, folder, "train")[0]
    assert example.inputs.startswith("acceptability sentence: This function ")
    assert (example.targets, example.answer) == ("acceptable", 1)
    example = load.load(probes.SAME_DOCUMENT, folder, "train")[1]
    assert " sentence2: This function " in example.inputs
    assert (example.targets, example.answer) == ("different", 0)
    example = load.load(probes.CLOZE, folder, "train")[0]
    asked = example.inputs.removeprefix("cloze phrase: ")
    phrase, context = asked.split(" <extra_id_0> context: ")
    (answer,) = example.answer
    assert context.split(phrase)[1].split()[0] == answer
    assert example.targets == f"<extra_id_0> {answer}"
    assert [task.name for task in probes.TASKS if task.sentinels] == ["cloze"]


@pytest.mark.parametrize(
    ("task", "wrong", "metrics"),
    [
        (probes.ACCEPTABILITY, "acceptable", {"matthews": (100, 0)}),
        (probes.SAME_DOCUMENT, "same", {"accuracy": (100, 50)}),
        (probes.CLOZE, "nothing", {"em": (100, 0), "f1": (100, 0)}),
    ],
)
def test_scores(folder, task, wrong, metrics):
    examples = load.load(task, folder, "validation")
    right = task.score(examples, [example.targets for example in examples])
    constant = task.score(examples, [wrong] * len(examples))
    assert {name: (right[name], constant[name]) for name in right} == metrics
    assert set(task.averaged) == set(metrics)


def test_cloze_by_hand():
    """Scores 3 predictions, 2 of which are correct, one without the sentinel."""
    rows = [{"phrase": "p", "context": "c", "answer": w} for w in ("of", "and", "in")]
    examples = [
        example for row in rows for example in probes.CLOZE.examples(Row(row, "here"))
    ]
    assert examples[0].inputs == "cloze phrase: p <extra_id_0> context: c"
    predictions = ["<extra_id_0> of", "and", "<extra_id_0> to <extra_id_1>"]
    scores = probes.CLOZE.score(examples, predictions)
    assert scores == pytest.approx({"em": 200 / 3, "f1": 200 / 3})
