"""A few rows of each task's validation set, by hand, in each accepted format."""

import gzip
import hashlib
import io
import json
import tarfile
from typing import NamedTuple


class Release(NamedTuple):
    """The files of a task.

    Attributes:
        task: its name.
        files: name -> content.
    """

    task: str
    files: dict[str, bytes]


def _jsonl(*rows: dict) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _table(separator: str, *rows: str) -> str:
    return "".join(row.replace("|", separator) + "\n" for row in rows)


def _tsv(*rows: str) -> str:
    return _table("\t", *rows)


def _imdb_archive() -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name in ("test/neg/0_2.txt", "test/pos/1_9.txt"):
            review = f"The review {name}.".encode()
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(review)
            tar.addfile(member, io.BytesIO(review))
    return gzip.compress(data.getvalue(), mtime=0)


_PASSAGE = "Ann met Bob.\n@highlight\nBob ran to Ann"
_MULTIRC = {
    "idx": 3,
    "passage": {
        "text": "Ann met Bob.",
        "questions": [
            {
                "idx": k,
                "question": f"Who met Bob, {k}?",
                "answers": [{"text": "Ann", "label": 1}, {"text": "Eve", "label": 0}],
            }
            for k in range(2)
        ],
    },
}
_RECORD = {
    "idx": 5,
    "passage": {
        "text": _PASSAGE,
        "entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}],
    },
    "qas": [
        {"idx": 0, "query": "@placeholder ran", "answers": [{"text": "Bob"}]},
        {"idx": 1, "query": "to @placeholder", "answers": [{"text": "Ann"}]},
    ],
}
_WSC = [
    {
        "idx": k,
        "text": "Ann met Bob since she ran .",
        "target": {
            "span1_text": name,
            "span2_text": "she",
            "span1_index": 0,
            "span2_index": 4,
        },
        "label": name == "Ann",
    }
    for k, name in enumerate(("Ann", "Bob"))
]
_SQUAD = {
    "data": [
        {
            "title": "t",
            "paragraphs": [
                {
                    "context": "Ann met Bob in 1990.",
                    "qas": [
                        {"id": "q0", "question": "Who?", "answers": [{"text": "Ann"}]},
                        {
                            "id": "q1",
                            "question": "When?",
                            "answers": [{"text": "1990"}],
                        },
                    ],
                }
            ],
        }
    ]
}
_STORY = "Ann met Bob\n\nBob ran.\n\n@highlight\n\nBob ran away\n"
_ADDRESS = "http://example.com/story"
_STORY_NAME = hashlib.sha1(_ADDRESS.encode()).hexdigest() + ".story"
_PAGE = "[SN]FIRST-SENTENCE[SN]\nAnn ran.\n[SN]RESTBODY[SN]\nEmail\nShe ran far.\n"
_NLI = "index|sentence1|sentence2|gold_label"
_NLI_ROWS = ["0|Ann ran.|Ann moved.|entailment", "1|Ann ran.|Bob ran.|neutral"]
_FLAT = [
    {"sentence": "sentence 1: Ann ran.\nsentence 2: Ann moved.", "label": label}
    for label in ("entailment", "contradiction")
]
_SUMMARIES = [{"document": f"Ann ran {k} miles.", "summary": "Ann ran."} for k in "12"]

_TEXTS: list[tuple[str, dict[str, str | bytes]]] = [
    ("cola", {"CoLA/dev.tsv": _tsv("g|1||The boy ran.", "g|0|*|Boy the ran.")}),
    ("sst2", {"SST-2/dev.tsv": _tsv("sentence|label", "so good|1", "so bad|0")}),
    (
        "mrpc",
        {
            "MRPC/msr_paraphrase_train.txt": _tsv(
                "Quality|#1 ID|#2 ID|#1 String|#2 String",
                "1|10|11|Ann ran.|Ann has run.",
                "0|20|21|Ann ran.|Bob ran.",
            ),
            "MRPC/dev_ids.tsv": _tsv("10|11", "20|21"),
        },
    ),
    (
        "stsb",
        {
            "STS-B/dev.tsv": _tsv(
                "index|sentence1|sentence2|score", "0|a|b|2.5", "1|c|d|5.000"
            )
        },
    ),
    (
        "qqp",
        {
            "QQP/dev.tsv": _tsv(
                "id|qid1|qid2|question1|question2|is_duplicate",
                "1|2|3|Who?|Which?|0",
                "4|5|6|Who?|Who is it?|1",
            )
        },
    ),
    (
        "mnli",
        {
            "MNLI/dev_matched.tsv": _tsv(_NLI, *_NLI_ROWS),
            "MNLI/dev_mismatched.tsv": _tsv(_NLI, *_NLI_ROWS),
        },
    ),
    ("mnli", {"clbench/MNLI/dev.json": json.dumps(_FLAT)}),
    (
        "mnli",
        {
            f"multinli_1.0/multinli_1.0_dev_{part}.jsonl": _jsonl(
                *(
                    {"sentence1": "a", "sentence2": "b", "gold_label": label}
                    for label in ("neutral", "-")
                )
            )
            for part in ("matched", "mismatched")
        },
    ),
    (
        "qnli",
        {
            "QNLI/dev.tsv": _tsv(
                "index|question|sentence|label",
                "0|Who?|Ann.|entailment",
                "1|Who?|1990.|not_entailment",
            )
        },
    ),
    (
        "rte",
        {
            "RTE/dev.tsv": _tsv(
                "index|sentence1|sentence2|label",
                "0|a|b|entailment",
                "1|c|d|not_entailment",
            )
        },
    ),
    ("rte", {"clbench/RTE/dev.json": json.dumps(_FLAT)}),
    (
        "wnli",
        {
            "glue/WNLI/dev.tsv": _tsv(
                "index|sentence1|sentence2|label",
                "0|Ann met Bob and he ran.|Bob ran.|1",
                "1|Ann met Bob and he ran.|Ann ran.|0",
            )
        },
    ),
    (
        "boolq",
        {
            "BoolQ/val.jsonl": _jsonl(
                {"question": "is it", "passage": "It is.", "idx": 0, "label": True},
                {"question": "is it", "passage": "No.", "idx": 1, "label": False},
            )
        },
    ),
    (
        "cb",
        {
            "CB/val.jsonl": _jsonl(
                {"premise": "a", "hypothesis": "b", "label": "neutral", "idx": 0},
                {"premise": "c", "hypothesis": "d", "label": "entailment", "idx": 1},
            )
        },
    ),
    (
        "copa",
        {
            "COPA/val.jsonl": _jsonl(
                *(
                    {
                        "premise": "a",
                        "choice1": "b",
                        "choice2": "c",
                        "question": "cause",
                        "label": label,
                    }
                    for label in (0, 1)
                )
            )
        },
    ),
    ("multirc", {"MultiRC/val.jsonl": _jsonl(_MULTIRC, {**_MULTIRC, "idx": 4})}),
    ("record", {"ReCoRD/val.jsonl": _jsonl(_RECORD, {**_RECORD, "idx": 6})}),
    (
        "wic",
        {
            "WiC/val.jsonl": _jsonl(
                *(
                    {"sentence1": "a", "sentence2": "b", "word": "w", "label": label}
                    for label in (True, False)
                )
            )
        },
    ),
    ("wsc", {"WSC/val.jsonl": _jsonl(*_WSC)}),
    (
        "dpr",
        {
            "dpr/test.c.txt": "Ann met Bob since she ran.\nshe\nAnn,Bob\nAnn\n\n"
            "Ann met Bob since he ran.\nhe\nAnn,Bob\nBob\n"
        },
    ),
    ("squad", {"squad/dev-v1.1.json": json.dumps(_SQUAD)}),
    (
        "xsum",
        {
            "xsum/bbc-summary-data/1.summary": _PAGE,
            "xsum/bbc-summary-data/2.summary": _PAGE,
            "xsum/XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json": json.dumps(
                {"train": [], "validation": ["1", "2"], "test": []}
            ),
        },
    ),
    ("xsum", {"xsum/validation.jsonl": _jsonl(*_SUMMARIES)}),
    (
        "cnn_dailymail",
        {
            "cnn_dailymail/all_val.txt": f"{_ADDRESS}\n",
            f"cnn_dailymail/cnn/stories/{_STORY_NAME}": _STORY,
        },
    ),
    (
        "cnn_dailymail",
        {
            "cnn_dm/validation.csv": _table(
                ",", "id|article|highlights", '1|"Ann ran,\nfar."|Ann ran.', "2|a|b"
            )
        },
    ),
    (
        "multi_news",
        {
            "multi_news/val.src.cleaned": "Ann ran. NEWLINE_CHAR Far.\nBob ran.\n",
            "multi_news/val.tgt": "- Ann ran.\n- Bob.\n",
        },
    ),
    (
        "civil_comments",
        {
            "civil_comments/test_public_expanded.csv": _table(
                ",", "id|comment_text|toxicity", '1|"You, there"|0.0', "2|Ugh|0.9"
            )
        },
    ),
    (
        "wiki_toxicity",
        {
            "wiki_toxicity/test.csv": _table(",", "id|comment_text", "a|Hi", "b|Ugh"),
            "wiki_toxicity/test_labels.csv": _table(",", "id|toxic", "a|0", "b|1"),
        },
    ),
    (
        "imdb",
        {
            "aclImdb/test/neg/0_2.txt": "A bad film.",
            "aclImdb/test/pos/1_9.txt": "A good film.",
        },
    ),
    ("imdb", {"aclImdb_v1.tar.gz": _imdb_archive()}),
    (
        "anli",
        {
            "anli/dev.jsonl": _jsonl(
                *({"obs1": "a", "obs2": "b", "hyp1": k, "hyp2": "d"} for k in "xy")
            ),
            "anli/dev-labels.lst": "1\n2\n",
        },
    ),
    (
        "cosmosqa",
        {
            "cosmosqa/valid.csv": _table(
                ",",
                "id|context|question|answer0|answer1|answer2|answer3|label",
                "1|c|q|a|b|c|d|2",
            )
        },
    ),
    (
        "hellaswag",
        {
            "hellaswag/valid.jsonl": _jsonl(
                {"ctx": "a", "endings": ["b", "c", "d", "e"], "label": 3}
            )
        },
    ),
    (
        "socialiqa",
        {
            "socialiqa/dev.jsonl": _jsonl(
                {
                    "context": "a",
                    "question": "b",
                    "answerA": "c",
                    "answerB": "d",
                    "answerC": "e",
                    "label": "3",
                }
            )
        },
    ),
    (
        "acceptability",
        {
            "acceptability/validation.jsonl": _jsonl(
                {"sentence": "Ann ran.", "label": 1},
                {"sentence": "Ran Ann.", "label": 0},
            )
        },
    ),
    (
        "cloze",
        {
            "cloze/validation.jsonl": _jsonl(
                {"phrase": "to be or", "context": "to be or not", "answer": "not"}
            )
        },
    ),
]
RELEASES = tuple(
    Release(
        task,
        {
            name: content if isinstance(content, bytes) else content.encode()
            for name, content in files.items()
        },
    )
    for task, files in _TEXTS
)
