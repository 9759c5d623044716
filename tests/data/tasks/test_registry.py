"""Tasks by name, by benchmark and from a user's file."""

import re

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import load
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example

MINE = """
from clinometer.data.tasks import classes, readers, task

LABELS = ("no", "yes")
TASK = task.Task(
    name="mine",
    benchmark=None,
    files={"train": ("train.jsonl",), "validation": ("dev.jsonl",)},
    read=readers.jsonl,
    examples=classes.template("mine", ["text"], LABELS),
    labels=LABELS,
    score=classes.score(LABELS, "accuracy"),
    averaged=("accuracy",),
    train_examples=2,
)
"""


def test_the_benchmarks_are_the_papers():
    benchmarks = registry.benchmarks()
    assert set(benchmarks["glue"]) == {
        "cola",
        "sst2",
        "mrpc",
        "stsb",
        "qqp",
        "mnli",
        "qnli",
        "rte",
    }
    assert set(benchmarks["superglue"]) == {
        "boolq",
        "cb",
        "copa",
        "multirc",
        "record",
        "superglue_rte",
        "wic",
        "wsc",
    }
    assert {"wnli", "dpr"} <= set(registry.names())


def test_the_other_benchmarks_have_their_tasks():
    benchmarks = registry.benchmarks()
    assert benchmarks["squad"] == ("squad",)
    assert benchmarks["summarization"] == ("xsum", "cnn_dailymail", "multi_news")
    assert benchmarks["classification"] == ("civil_comments", "wiki_toxicity", "imdb")
    assert set(benchmarks["rainbow"]) == {
        "anli",
        "cosmosqa",
        "hellaswag",
        "physicaliqa",
        "socialiqa",
        "winogrande",
    }


def test_sizes_for_mixture_rates():
    # The numbers of T5 and Rainbow.
    sizes = {
        "cola": 8551,
        "sst2": 67349,
        "mrpc": 3668,
        "qqp": 363849,
        "stsb": 5749,
        "mnli": 392702,
        "qnli": 104743,
        "rte": 2490,
        "boolq": 9427,
        "cb": 250,
        "copa": 400,
        "multirc": 27243,
        "record": 138854,
        "superglue_rte": 2490,
        "wic": 5428,
        "wsc": 259,
        "dpr": 1322,
        "squad": 87599,
        "anli": 169654,
        "cosmosqa": 25262,
        "hellaswag": 39905,
        "physicaliqa": 16113,
        "socialiqa": 33410,
        "winogrande": 40398,
    }
    assert {name: registry.get(name).train_examples for name in sizes} == sizes


def test_every_task_is_whole():
    for name in registry.names():
        task = registry.get(name)
        assert task.name == name
        assert {"validation"} <= set(task.files) <= {"train", "validation", "test"}
        assert task.averaged


def test_an_unknown_name_has_a_near_one():
    with pytest.raises(DataError, match=r"No task 'sst-2' .* Did you mean 'sst2'\?"):
        registry.get("sst-2")


def test_a_task_of_a_file(tmp_path):
    path = tmp_path / "my_task.py"
    path.write_text(MINE)
    assert registry.get(str(path)).name == "mine"
    assert registry.get(f"{path}:mine").labels == ("no", "yes")
    with pytest.raises(DataError, match="No task 'yours' in .*my_task.py"):
        registry.get(f"{path}:yours")
    path.write_text(
        MINE + "import dataclasses\n"
        "TASKS = (TASK, dataclasses.replace(TASK, name='other'))\n"
    )
    assert registry.get(f"{path}:other").name == "other"
    with pytest.raises(DataError, match="Accepted are mine, other"):
        registry.get(str(path))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 / 0", "fails: ZeroDivisionError"),
        ("\n\nx = 1 +", r"bad.py', line 3, fails: invalid syntax"),
        ("\n  import os", r"bad.py', line 2, fails: unexpected indent"),
        ("\nimport nothing_there", "line 2, fails: ModuleNotFoundError"),
        ("\nraise SystemExit", "line 2, fails: SystemExit"),
        ("x = '\udcff'", r"bad.py'.* fails: .*utf-8"),
        ("x = '\0'", "fails: .*null bytes"),
        ("(" * 300, r"bad.py', line 1, fails: too many nested"),
        (
            "def f():\n  return {}['k']\n\nf()",
            r"(?s)line 4, fails: KeyError: 'k'\nTraceback of the file:\n"
            r".*bad.py\", line 4, in .*bad.py\", line 2, in f",
        ),
        ("x = 1", "must set TASK to a Task"),
        ("TASKS = ('cola',)", "must set TASK to a Task"),
        ("TASKS = 3", "must set TASK to a Task"),
        ("TASKS = iter('cola')", "must set TASK to a Task"),
        (MINE + "TASKS = (TASK, TASK)\n", "the name 'mine' is taken by 'mine'"),
    ],
)
def test_a_bad_file(tmp_path, text, reason):
    path = tmp_path / "bad.py"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=reason):
        registry.get(str(path))


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "my/spam", "a b", ".x", "-x", "a\0b", "a\nb", "x" * 300]
    + ["spam\u00e9", "\ud800", "a\\b", "a=b", "a,b"],
)
def test_a_name_that_no_file_may_have(tmp_path, name):
    path = tmp_path / "bad.py"
    path.write_text(MINE.replace('"mine"', ascii(name)))
    with pytest.raises(DataError, match=r"bad.py', line 5, fails: Task name .*ASCII"):
        registry.get(str(path))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("cola", "cola"),
        ("CoLA", "cola"),
        ("avg", "avg"),
        ("AVG", "avg"),
        ("glue", "glue"),
        ("SuperGLUE", "superglue"),
        ("probes", "probes"),
        ("twelve", "twelve"),
    ],
)
def test_a_name_that_is_taken(tmp_path, name, other):
    path = tmp_path / "bad.py"
    path.write_text(MINE.replace('"mine"', repr(name)))
    with pytest.raises(DataError, match=f"name {name!r} is taken by {other!r}"):
        registry.get(str(path))


@pytest.mark.parametrize(
    ("own", "wrong", "message"),
    [
        ("labels=LABELS", "labels='noyes'", "labels is 'noyes'; accepted is a tuple"),
        ("labels=LABELS", "labels=('a', 'a')", "labels is .* distinct strings"),
        ('("dev.jsonl",)', '"dev.jsonl"', "files is .* tuples of paths"),
        ("read=readers.jsonl", "read='jsonl'", "read is 'jsonl'; accepted is a func"),
        ("averaged=(", "averaged=() and (", r"averaged is \(\); accepted is a tuple"),
        ("train_examples=2", "train_examples='2'", "train_examples is '2'; accepted"),
        ("train_examples=2", "train_examples=-2", "train_examples is -2; accepted is"),
        ("train_examples=2", "train_examples=1 << 64", "train_examples is 1844.*; acc"),
        (
            "train_examples=2",
            "train_examples=10**5000",
            ".* with thousands of digits; a",
        ),
    ],
)
def test_a_field_of_another_type(tmp_path, own, wrong, message):
    path = tmp_path / "bad.py"
    assert own in MINE
    path.write_text(MINE.replace(own, wrong))
    with pytest.raises(DataError, match=f"line 5, fails: Task 'mine': {message}"):
        registry.get(str(path))


def test_folders_may_be_named_like_files(tmp_path):
    folder = tmp_path / "my.python.py:x"
    folder.mkdir()
    (folder / "task.py").write_text(MINE)
    assert registry.get(f"{folder}/task.py").name == "mine"
    assert registry.get(f"{folder}/task.py:mine").name == "mine"
    with pytest.raises(DataError, match="does not exist"):
        registry.get(str(folder))
    with pytest.raises(DataError, match="does not exist"):
        registry.get("x" * 300 + ".py")


def test_a_missing_file():
    with pytest.raises(DataError, match="'none/mine.py' does not exist"):
        registry.get("none/mine.py")


def test_the_example_of_the_readme(repo_root, tmp_path):
    readme = (repo_root / "data/README.md").read_text()
    path = tmp_path / "my_task.py"
    path.write_text(re.search("```python\n(.*?)```", readme, re.DOTALL)[1])
    row, inputs, target = re.search(
        r"With `(.*?)` as a line.*?reads `(.*?)` and writes `(.*?)`", readme, re.DOTALL
    ).groups()
    (tmp_path / "spam").mkdir()
    (tmp_path / "spam/train.jsonl").write_text(row + "\n")
    task = registry.get(str(path))
    examples = load.load(task, tmp_path, "train")
    assert examples == [Example(inputs, target, 0)]
    assert task.score(examples, [target])["accuracy"] == 100


def test_the_readme_names_every_task(repo_root):
    readme = (repo_root / "data/README.md").read_text()
    for benchmark, names in registry.benchmarks().items():
        line = next(x for x in readme.splitlines() if x.startswith(f"| `{benchmark}`"))
        assert re.findall("`([a-z0-9_]+)`", line)[1 : 1 + len(names)] == list(names)
    assert "`wnli`" in readme
    assert "`dpr`" in readme
