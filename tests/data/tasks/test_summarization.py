"""Summaries: rows worked by hand, and XSum's of the shared data.

That has none of CNN/DailyMail and Multi-News: here are rows in their releases' format.
"""

import hashlib
import json
import lzma

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Example

PAGE = """[SN]URL[SN]
http://example.org/1

[SN]TITLE[SN]
A title

[SN]FIRST-SENTENCE[SN]
A park opens.

[SN]RESTBODY[SN]
Share this with
Email
The park has  seven slides.

It is wet.
"""
STORY = (
    "(CNN) -- It rained\n\nAll day.\n\n@highlight\n\nRain\n\n@highlight\n\nMore: 'x'\n"
)


def story_name(address):
    return hashlib.sha1(address.encode()).hexdigest() + ".story"


def test_xsum_as_json_lines(read):
    row = json.dumps({"document": "It rained.\nA lot.", "summary": "Rain.", "id": "1"})
    (example,) = read("xsum", {"xsum/test.jsonl": row}, "test").examples
    assert example == Example("summarize: It rained.\nA lot.", "Rain.", "Rain.")


def test_xsum_as_pages(read):
    files = {
        "xsum/bbc-summary-data/17.summary": PAGE,
        "xsum/bbc-summary-data/18.summary": PAGE.replace("park", "zoo"),
        "xsum/XSum-TRAINING-DEV-TEST-SPLIT-90-5-5.json": json.dumps(
            {"train": ["18"], "validation": ["17"], "test": ["19"]}
        ),
    }
    (example,) = read("xsum", files).examples
    assert example == Example(
        "summarize: The park has  seven slides.\nIt is wet.",
        "A park opens.",
        "A park opens.",
    )
    with pytest.raises(DataError, match="19.summary: No such file"):
        read("xsum", files, "test")


def test_xsum_without_its_splits(read):
    with pytest.raises(DataError, match="needs the list of its splits.*90-5-5.json"):
        read("xsum", {"bbc-summary-data/17.summary": PAGE})


def test_cnn_dailymail_as_stories(read):
    files = {
        "cnn_dm/url_lists/all_val.txt": "http://a\nhttp://b\nhttp://c\n",
        f"cnn_dm/cnn/stories/{story_name('http://a')}": STORY,
        # The release has stories without text.
        f"cnn_dm/dailymail/stories/{story_name('http://b')}": "@highlight\n\nRain\n",
        f"cnn_dm/dailymail/stories/{story_name('http://c')}": STORY,
    }
    loaded = read("cnn_dailymail", files)
    summary = "Rain.\nMore: 'x'"
    expected = Example("summarize: (CNN) -- It rained. All day.", summary, summary)
    assert loaded.examples == [expected, expected]
    assert loaded.dropped == {"a story without text or highlights": 1}
    files = {"cnn_dm/url_lists/all_val.txt": "http://d\n"}
    with pytest.raises(DataError, match="all_val.txt:1: no story .* for http://d"):
        read("cnn_dailymail", files)


def test_cnn_dailymail_without_stories(read):
    with pytest.raises(DataError, match="needs its stories; looked for cnn/stories"):
        read("cnn_dailymail", {"cnn_dm/all_test.txt": "http://a\n"}, "test")


def test_cnn_dailymail_as_csv(read):
    text = 'id,article,highlights\n1,"It rained.\n","Rain.\nMore."\n'
    (example,) = read("cnn_dailymail", {"cnn_dailymail/validation.csv": text}).examples
    assert example == Example("summarize: It rained.\n", "Rain.\nMore.", "Rain.\nMore.")


def test_multi_news(read):
    files = {
        "multi_news/val.src.cleaned": " One.  NEWLINE_CHAR Two. ||||| Three. \n",
        "multi_news/val.tgt": "- All three.\n",
    }
    (example,) = read("multi_news", files).examples
    assert example == Example(
        "summarize: One.  \n Two. ||||| Three.", "All three.", "All three."
    )
    files["multi_news/val.tgt"] = "- All.\n- More.\n"
    with pytest.raises(DataError, match="has 1 lines, but .*val.tgt has 2"):
        read("multi_news", files)


def test_a_row_without_a_document(read):
    with pytest.raises(DataError, match="jsonl:1: no field 'document'"):
        read("xsum", {"xsum/test.jsonl": '{"text": "x"}'}, "test")


def test_rouge():
    example = Example("", "", "the cat sat on the mat")
    found = registry.get("xsum").score([example], ["the cat sat"])
    # 3 of 6 and of 3 unigrams match, and 2 of 5 and of 2 bigrams.
    assert found["rouge1"] == pytest.approx(100 * 2 * 0.5 * 1 / 1.5)
    assert found["rouge2"] == pytest.approx(100 * 2 * 0.4 * 1 / 1.4)


def test_the_shared_summaries(read_shared, shared_dir):
    examples = read_shared("xsum", "xsum/test1000.jsonl.xz").examples
    assert len({example.inputs for example in examples}) == 1000
    with lzma.open(shared_dir / "data/xsum/test1000.jsonl.xz", "rt") as file:
        first = json.loads(file.readline())
    assert examples[0].inputs == "summarize: " + first["document"]
    assert examples[0].targets == first["summary"]
