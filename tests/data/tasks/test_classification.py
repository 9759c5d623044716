"""Toxic comments and reviews: rows by hand, and counts of the shared data."""

import io
import lzma
import tarfile

import pytest

from clinometer.data.errors import DataError
from clinometer.data.tasks.task import Example

WIKI = "id,comment_text,toxic,severe_toxic,obscene,threat,insult,identity_hate\n"


@pytest.mark.parametrize(
    ("score", "label"), [("0.0", 0), ("0.499", 0), ("0.5", 1), ("1", 1)]
)
def test_civil_comments(read, score, label):
    text = f'id,target,comment_text,insult\n1,{score},"A ""b"",\nc",0\n'
    files = {"civil_comments/train.csv": text}
    (example,) = read("civil_comments", files, "train").examples
    assert example == Example(
        'civil_comments text: A "b",\nc', ("non-toxic", "toxic")[label], label
    )
    text = f"id,comment_text,toxicity\n1,A b.,{score}\n"
    files = {"jigsaw_unintended_bias/test_public_expanded.csv": text}
    (example,) = read("civil_comments", files).examples
    assert example.answer == label


def test_wiki_toxicity(read):
    text = WIKI + "a,Fine.,0,0,0,0,0,0\nb,Bad.,1,0,0,0,0,0\n"
    files = {"wiki_toxicity/wikidata_train.csv": text}
    assert read("wiki_toxicity", files, "train").examples == [
        Example("wiki_toxicity text: Fine.", "non-toxic", 0),
        Example("wiki_toxicity text: Bad.", "toxic", 1),
    ]


def test_wiki_toxicity_has_test_labels_in_another_file(read):
    folder = "jigsaw-toxic-comment-classification-challenge"
    comments = "id,comment_text\na,Fine.\nb,Unknown.\n"
    files = {f"{folder}/test.csv": comments}
    assert [e.answer for e in read("wiki_toxicity", files, "test").examples] == [
        None
    ] * 2
    labels = WIKI.replace("comment_text,", "") + "b,-1,-1,-1,-1,-1,-1\n"
    files[f"{folder}/test_labels.csv"] = labels
    with pytest.raises(DataError, match="test.csv:2: no label for id 'a' in"):
        read("wiki_toxicity", files)
    files[f"{folder}/test_labels.csv"] = labels + "a,1,0,0,0,0,0\n"
    loaded = read("wiki_toxicity", files)
    assert [example.answer for example in loaded.examples] == [1]
    assert loaded.dropped == {"labels of -1, which Kaggle does not score": 1}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("a,x,2,0,0,0,0,0", "csv:2: toxicity 2.0 is not in"),
        ("a,x,yes,0,0,0,0,0", "csv:2: toxicity 'yes' is not a number"),
        ("a,x", "csv:2: 2 columns, not 8"),
    ],
)
def test_a_bad_comment(read, row, reason):
    with pytest.raises(DataError, match=reason):
        read("wiki_toxicity", {"wiki_toxicity/train.csv": WIKI + row}, "train")


REVIEWS = {
    "aclImdb/README": "about",
    "aclImdb/train/pos/10_9.txt": "Good.<br /><br />Very.",
    "aclImdb/train/pos/2_10.txt": "Great.",
    "aclImdb/train/neg/0_1.txt": "Bad.",
    "aclImdb/train/unsup/0_0.txt": "So?",
    "aclImdb/test/pos/0_7.txt": "Nice.",
}
TRAIN = [
    Example("imdb review: Bad.", "negative", 0),
    Example("imdb review: Great.", "positive", 1),
    Example("imdb review: Good.<br /><br />Very.", "positive", 1),
]


def archive(files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:xz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return data.getvalue()


@pytest.mark.parametrize("packed", [True, False])
def test_reviews(read, packed):
    files = {"imdb/aclImdb.tar.xz": archive(REVIEWS)} if packed else REVIEWS
    assert read("imdb", files, "train").examples == TRAIN
    # The release has no validation set, so the test set is used.
    (own,) = read("imdb", files, "test").examples
    assert read("imdb", files).examples == [own]
    more = {**REVIEWS, "aclImdb/val/neg/5_4.txt": "Hm."}
    files = {"imdb/aclImdb.tar.xz": archive(more)} if packed else more
    (held_out,) = read("imdb", files).examples
    assert held_out.inputs == "imdb review: Hm."


def test_a_rating_that_is_not_of_its_folder(read):
    with pytest.raises(DataError, match=r"neg/0_8.txt: a review with rating 8 is in"):
        read("imdb", {"aclImdb/train/neg/0_8.txt": "Good."}, "train")


def test_a_cut_archive(read):
    data = archive(REVIEWS)
    with pytest.raises(DataError, match="aclImdb.tar.xz: truncated or corrupt"):
        read("imdb", {"aclImdb.tar.xz": data[: len(data) // 2]}, "train")


def test_a_corrupt_header_is_not_the_end_of_the_archive(read):
    data = bytearray(lzma.decompress(archive(REVIEWS)))
    data[data.rindex(b"aclImdb/")] ^= 1
    with pytest.raises(DataError, match="aclImdb.tar: truncated or corrupt: bad check"):
        read("imdb", {"aclImdb.tar": bytes(data)}, "train")


@pytest.mark.parametrize(
    ("name", "count", "toxic"),
    [("train", 267, 26), ("valid", 25, 3), ("test_proced", 251, 24), ("test", 33, 0)],
)
def test_the_shared_wikipedia_comments(read_shared, name, count, toxic):
    examples = read_shared(
        "wiki_toxicity", f"toxicity/jigsaw_wikipedia/{name}.csv"
    ).examples
    assert len(examples) == count
    assert sum(example.answer == 1 for example in examples) == toxic
    assert (examples[0].answer is None) == (name == "test")


def test_the_shared_civil_comments(read_shared):
    folder = "hf_samples/jigsaw_unintended_bias"
    for name, count in [
        ("train", 5),
        ("test_public_expanded", 4),
        ("test_private_expanded", 3),
    ]:
        loaded = read_shared("civil_comments", f"{folder}/{name}.csv")
        assert [e.answer in (0, 1) for e in loaded.examples] == [True] * count


@pytest.mark.slow
def test_the_shared_reviews(read_shared):
    for split, count in [("train", 20000), ("validation", 5000), ("test", 25000)]:
        loaded = read_shared("imdb", "imdb/aclImdb.tar.xz", split=split)
        answers = [example.answer for example in loaded.examples]
        assert answers == [0] * (count // 2) + [1] * (count // 2)
