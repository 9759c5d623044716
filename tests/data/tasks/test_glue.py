"""GLUE's tasks: rows as in FORMATS.md#tasks, and counts of the shared data."""

import collections

import numpy as np
import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example

QQP = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
MRPC = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n"
STSB = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2"
# Columns of MNLI: 8 before the sentences, annotators' labels, the gold label.
# A row of MNLI: unused columns, the sentences, an annotator's label, the gold label.
MNLI = "index\tpairID\tsentence1\tsentence2\tlabel1\tgold_label\n"
MNLI_ROW = "0\t1n\tHe ran.\tHe moved.\tneutral\tentailment\n"

# Task, file of the release, its contents; the example of FORMATS.md#tasks.
WORKED = [
    (
        "cola",
        "glue/CoLA/dev.tsv",
        "gj04\t0\t*\tThe boy quickly.\n",
        Example("cola sentence: The boy quickly.", "unacceptable", 0),
    ),
    (
        "sst2",
        "SST-2/dev.tsv",
        "sentence\tlabel\na charming journey . \t1\n",
        Example("sst2 sentence: a charming journey . ", "positive", 1),
    ),
    (
        "mrpc",
        "glue_data/MRPC/dev.tsv",
        MRPC + '1\t10\t11\tHe said "no.\tHe said it.\r\n',
        Example('mrpc sentence1: He said "no. sentence2: He said it.', "equivalent", 1),
    ),
    (
        "stsb",
        "GLUE/STS-B/dev.tsv",
        STSB + "\tscore\n0\tg\tf\t2012\t1\tnone\tnone\tA dog.\tA cat.\t3.333\n",
        Example("stsb sentence1: A dog. sentence2: A cat.", "3.4", 3.4),
    ),
    (
        "qqp",
        "QQP/dev.tsv",
        QQP + "1\t2\t3\tWho is it?\tWho was it?\t0\n",
        Example("qqp question1: Who is it? question2: Who was it?", "not_duplicate", 0),
    ),
    (
        "mnli",
        "MNLI/dev_{}.tsv",
        MNLI + MNLI_ROW,
        Example(
            "mnli hypothesis: He moved. premise: He ran.", "entailment", 0, "matched"
        ),
    ),
    (
        "qnli",
        "QNLI/dev.tsv",
        "index\tquestion\tsentence\tlabel\n0\tWho?\tHe did.\tnot_entailment\n",
        Example("qnli question: Who? sentence: He did.", "not_entailment", 1),
    ),
    (
        "rte",
        "RTE/dev.tsv",
        "index\tsentence1\tsentence2\tlabel\n0\tHe ran.\tHe moved.\tentailment\n",
        Example("rte sentence1: He ran. sentence2: He moved.", "entailment", 0),
    ),
]


@pytest.mark.parametrize(("task", "file", "content", "expected"), WORKED)
def test_a_worked_row(read, task, file, content, expected):
    files = {file.format(part): content for part in ("matched", "mismatched")}
    assert read(task, files).examples[0] == expected


def test_mnli_has_both_development_sets(read):
    files = {
        "MNLI/dev_matched.tsv": MNLI + MNLI_ROW,
        "MNLI/dev_mismatched.tsv": MNLI + MNLI_ROW,
    }
    groups = [example.group for example in read("mnli", files).examples]
    assert groups == ["matched", "mismatched"]


def test_mnli_without_gold_label_is_left_out(read):
    row = '{"sentence1": "a", "sentence2": "b", "gold_label": "%s"}\n'
    file = "multinli_1.0/multinli_1.0_train.jsonl"
    loaded = read("mnli", {file: row % "-" + row % "neutral"}, "train")
    assert loaded.examples == [Example("mnli hypothesis: b premise: a", "neutral", 1)]
    assert loaded.dropped == {"no gold label, as the annotators disagree": 1}


def test_mnli_averages_its_sets_and_not_their_examples():
    task = registry.get("mnli")
    examples = [Example("", "", 0, "matched")] * 3 + [Example("", "", 0, "mismatched")]
    said = ["entailment", "neutral", "Entailment", "entailment"]
    found = task.score(examples, said)
    assert found["accuracy_matched"] == pytest.approx(100 / 3)
    assert found["accuracy_mismatched"] == 100
    assert found["accuracy"] == pytest.approx((100 / 3 + 100) / 2)
    alone = task.score(examples[:3], said[:3])
    assert alone == {"accuracy": pytest.approx(100 / 3)}


@pytest.mark.parametrize(
    ("score", "text"),
    # Rounded to the nearest fifth, with halves to even.
    [
        ("0", "0.0"),
        ("5.000", "5.0"),
        ("3.8", "3.8"),
        ("2.5", "2.4"),
        ("3.5", "3.6"),
        ("4.9", "4.8"),
        ("4.91", "5.0"),
        ("0.099", "0.0"),
    ],
)
def test_scores_of_stsb_are_rounded(read, score, text):
    content = f"{STSB}\tscore\n" + "x\t" * 7 + f"a\tb\t{score}\n"
    (example,) = read("stsb", {"STS-B/dev.tsv": content}).examples
    assert (example.targets, example.answer) == (text, float(text))


def test_stsb_is_rounded_in_single_precision_alike():
    thousandths = np.arange(5001)
    single = np.float32(thousandths / 1000) * np.float32(5)  # as in T5
    assert (np.round(single) == np.round(thousandths / 1000 * 5)).all()


def test_stsb_score():
    task = registry.get("stsb")
    examples = [Example("", "", x) for x in (1.0, 2.0, 3.0, 4.0)]
    found = task.score(examples, ["1.0", "2.0", "3.0", "4.0"])
    assert found == {"pearson": pytest.approx(100), "spearman": pytest.approx(100)}
    said = [1.0, -1.0, 3.0, 4.0]  # -1 for a prediction that is not a number
    found = task.score(examples, ["1.0", "two", "3.0", "4.0"])
    assert found["pearson"] == pytest.approx(
        100 * np.corrcoef([1, 2, 3, 4], said)[0, 1]
    )


@pytest.mark.parametrize(
    ("task", "file", "content", "reason"),
    [
        (
            "cola",
            "CoLA/dev.tsv",
            "gj04\t2\t\tA b.\n",
            "dev.tsv:1: label '2' is not valid",
        ),
        ("cola", "CoLA/dev.tsv", "A b.\n", "dev.tsv:1: unknown columns"),
        ("sst2", "SST-2/dev.tsv", "sentence\tlabel\nx\n", ":2: 1 columns, not 2"),
        (
            "qnli",
            "QNLI/dev.tsv",
            "question\tlabel\nx\t0\n",
            "header with question, sen",
        ),
        (
            "stsb",
            "STS-B/dev.tsv",
            "sentence1\tsentence2\tscore\na\tb\t5.1\n",
            "score 5.1 is not in",
        ),
        (
            "stsb",
            "STS-B/dev.tsv",
            "sentence1\tsentence2\tscore\na\tb\tnan\n",
            "score nan is not in",
        ),
    ],
)
def test_a_bad_row(read, task, file, content, reason):
    with pytest.raises(DataError, match=reason):
        read(task, {file: content})


def test_mrpc_is_divided_by_its_list_of_ids(read):
    rows = [f"1\t{k}\t{k + 1}\tx{k}\ty" for k in range(4)]
    files = {
        "MRPC/msr_paraphrase_train.txt": MRPC + "\r\n".join(rows),
        "MRPC/dev_ids.tsv": "2\t3\n",
    }
    train = read("mrpc", files, "train").examples
    assert [e.inputs.split()[2] for e in train] == ["x0", "x1", "x3"]
    (held_out,) = read("mrpc", files).examples
    assert held_out.inputs == "mrpc sentence1: x2 sentence2: y"


# Counts of the real data's README, by file (as "test", which needs no labels).
COUNTS = [
    ("cola", "glue/CoLA/tokenized_train.tsv", {1: 6023, 0: 2528}),
    ("cola", "glue/CoLA/tokenized_dev.tsv", {1: 354, 0: 162}),
    ("cola", "glue/CoLA/tokenized_test_idd.tsv", {1: 365, 0: 162}),
    ("sst2", "glue/SST-2/sentences_train.tsv", {1: 3610, 0: 3310}),
    ("sst2", "glue/SST-2/sentences_dev.tsv", {1: 909, 0: 912}),
    ("mrpc", "glue/MRPC/msr_paraphrase_test.txt", {1: 1147, 0: 578}),
    ("qqp", "glue/QQP/resplit_dev_23k.tsv", {0: 14749, 1: 8747}),
    ("qnli", "glue/QNLI/dev.tsv", {0: 2702, 1: 2761}),
    ("qnli", "glue/QNLI/test.tsv", {None: 5463}),
    ("rte", "glue/RTE/train.tsv", {0: 1249, 1: 1241}),
    ("rte", "glue/RTE/dev.tsv", {0: 146, 1: 131}),
    ("wnli", "glue/WNLI/train.tsv", {0: 323, 1: 312}),
    ("wnli", "glue/WNLI/dev.tsv", {0: 40, 1: 31}),
    ("mnli", "clbench/MNLI/train.json", {2: 1010, 1: 995, 0: 995}),
    ("mnli", "clbench/MNLI/dev.json", {0: 2681, 2: 2435, 1: 2353}),
    ("qqp", "clbench/QQP/train.json", {0: 1239, 1: 761}),
    ("qqp", "clbench/QQP/dev.json", {0: 4871, 1: 2729}),
    ("sst2", "clbench/SST-2/train.json", {1: 1092, 0: 908}),
    ("sst2", "clbench/SST-2/dev.json", {1: 444, 0: 428}),
    ("rte", "clbench/RTE/train.json", {0: 1018, 1: 982}),
    ("rte", "clbench/RTE/dev.json", {0: 146, 1: 131}),
]
DROPPED = {
    "glue/QQP/resplit_dev_23k.tsv": {"a row without 6 columns": 1},
    "clbench/MNLI/dev.json": {"no gold label, as the annotators disagree": 131},
}
SAMPLES = {
    "cola": ["CoLA/train.tsv", "CoLA/dev.tsv", "CoLA/test.tsv"],
    "sst2": ["SST-2/train.tsv", "SST-2/dev.tsv", "SST-2/test.tsv"],
    "mrpc": ["MRPC/train", "MRPC/test"],
    "stsb": ["SST-B/train.tsv", "SST-B/dev.tsv", "SST-B/test.tsv"],
    "qqp": ["QQP/train.tsv", "QQP/dev.tsv", "QQP/test.tsv"],
    "mnli": [
        "MNLI/train.tsv",
        *(
            f"MNLI/{s}_{part}.tsv"
            for s in ("dev", "test")
            for part in ("matched", "mismatched")
        ),
    ],
    "qnli": ["QNLI/train.tsv", "QNLI/dev.tsv", "QNLI/test.tsv"],
    "rte": ["RTE/train.tsv", "RTE/dev.tsv", "RTE/test.tsv"],
    "wnli": ["WNLI/train.tsv", "WNLI/dev.tsv", "WNLI/test.tsv"],
}


@pytest.mark.parametrize(("task", "file", "counts"), COUNTS)
def test_counts_of_the_shared_data(read_shared, task, file, counts):
    loaded = read_shared(task, file)
    assert collections.Counter(e.answer for e in loaded.examples) == counts
    assert loaded.dropped == DROPPED.get(file, {})
    assert loaded.rows == sum(counts.values()) + sum(loaded.dropped.values())


@pytest.mark.parametrize("task", SAMPLES)
def test_samples_of_the_raw_distributions(read_shared, shared_dir, task):
    for file in SAMPLES[task]:
        path = f"hf_samples/glue/{file}"
        lines = (shared_dir / "data" / path).read_text().count("\n")
        headerless = task == "cola" and "test" not in file
        if file == "MRPC/train":  # 8 of its 18 rows are in the development set.
            assert len(read_shared(task, path, split="validation").examples) == 8
            lines -= 8
        assert len(read_shared(task, path).examples) == lines - (not headerless)


def test_multi_nli(read_shared):
    folder = "hf_samples/multi_nli/multinli_1.0.zip/multinli_1.0/multinli_1.0_"
    for part in ("train", "dev_matched", "dev_mismatched"):
        lists = read_shared("mnli", f"{folder}{part}.jsonl").examples
        text = read_shared("mnli", f"{folder}{part}.txt").examples
        assert len(lists) == 5
        assert text == lists[:4]


def test_the_stsb_benchmark_is_glues(read_shared):
    for split, count in [("train", 5749), ("dev", 1500), ("test", 1379)]:
        own = read_shared("stsb", f"glue/STS-B/{split}.tsv").examples
        original = read_shared("stsb", f"glue/STS-B/original/sts-{split}.tsv").examples
        assert len(own) == len(original) == count
        if split != "test":
            # A few sentences differ in whitespace.
            assert [e.answer for e in own] == [e.answer for e in original]
            for one, other in zip(own, original):
                assert one.inputs.split() == other.inputs.split()
    assert all(example.answer is None for example in own)
    assert all(0 <= example.answer <= 5 for example in original)


def test_resplit_files_are_the_same_rows(read_shared):
    for task, sizes in [("rte", (1244, 139, 1384)), ("wnli", (565, 70, 71))]:
        folder = f"glue/{task.upper()}"
        parts = [
            read_shared(task, f"{folder}/resplit/{name}.tsv").examples
            for name in ("train", "dev", "test")
        ]
        assert tuple(map(len, parts)) == sizes
        own = read_shared(task, f"{folder}/train.tsv", f"{folder}/dev.tsv").examples
        assert collections.Counter(sum(parts, [])) == collections.Counter(own)


def test_mrpc_without_its_list_holds_every_tenth_row_out(read_shared):
    file = "glue/MRPC/msr_paraphrase_train.txt"
    train = read_shared("mrpc", file, split="train").examples
    held_out = read_shared("mrpc", file, split="validation").examples
    assert (len(train), len(held_out)) == (3668, 408)
    counts = collections.Counter(e.answer for e in train + held_out)
    assert counts == {1: 2753, 0: 1323}


def test_training_and_validation_of_qqp_share_no_row(read_shared):
    train = read_shared("qqp", "glue/QQP/resplit_dev_23k.tsv").examples
    held_out = read_shared("qqp", "clbench/QQP/dev.json").examples
    assert not {e.inputs for e in train} & {e.inputs for e in held_out}
