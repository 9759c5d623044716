"""Tokenisation: results, errors, few documents and full disks."""

import dataclasses
import gzip
import io
import json
import lzma
import math
import os
import resource
import shutil

import numpy as np
import pytest

from clinometer.data.corpus import documents as corpus
from clinometer.data.errors import DataError
from clinometer.data.store import token_store
from clinometer.data.store import tokenization

_OPTIONS = tokenization.TokenizationOptions(vocab_size=400, validation_fraction=0.1)


def test_own_validation_sources(corpus_file, small_vocabulary, tmp_path):
    (tmp_path / "held.txt").write_text("the value of held out text")
    output = tokenization.tokenize_corpus(
        [corpus_file],
        str(tmp_path / "store"),
        validation_sources=[str(tmp_path / "held.txt")],
        vocabulary=small_vocabulary,
    )
    splits = token_store.read_manifest(output).splits
    assert splits["train"]["documents"] == 400
    assert splits["validation"]["documents"] == 1


def _broken_file(tmp_path):
    path = tmp_path / "broken.jsonl"
    lines = ['{"text": "the value"}', "{broken", '{"text": " "}', '{"no": 1}']
    path.write_text("\n".join(lines))
    return path


def test_broken_records_are_shown_and_counted(tmp_path, small_vocabulary):
    path, log = _broken_file(tmp_path), io.StringIO()
    output = tokenization.tokenize_corpus(
        [str(path)],
        str(tmp_path / "store"),
        vocabulary=small_vocabulary,
        options=tokenization.TokenizationOptions(validation_fraction=0),
        progress=log,
    )
    manifest = token_store.read_manifest(output)
    assert manifest.broken_records["count"] == 2
    origins = [origin for origin, _ in manifest.broken_records["first"]]
    assert origins == [f"{path}:2", f"{path}:4"]
    assert manifest.empty_documents == 1
    assert manifest.splits["train"]["documents"] == 1
    assert f"broken record: {path}:2: not valid JSON" in log.getvalue()
    assert "there are no validation documents" in log.getvalue()


@pytest.mark.parametrize("more", [b"", b"one more (1)\n" * 50])
def test_broken_records_are_shown_where_no_vocabulary_can_be_trained(tmp_path, more):
    folder, log = tmp_path / "corpus", io.StringIO()
    folder.mkdir()
    (folder / "a.txt.xz").write_bytes(b"no xz")
    (folder / "b.txt").write_bytes(more)
    options = tokenization.TokenizationOptions(
        read=corpus.ReadOptions(document_per_line=True)
    )
    with pytest.raises(DataError, match="no text for the train|train a vocabulary"):
        tokenization.tokenize_corpus(
            [str(folder)], str(tmp_path / "s"), options=options, progress=log
        )
    assert f"broken record: {folder / 'a.txt.xz'}: truncated" in log.getvalue()


@pytest.mark.parametrize("text", ["", "one more (1)\n" * 50])
def test_dangling_links_are_named_where_there_is_too_little_text(tmp_path, text):
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "a.txt").write_text(text)
    options = tokenization.TokenizationOptions(
        read=corpus.ReadOptions(document_per_line=True)
    )

    def fail():
        with pytest.raises(DataError, match="no text|train a vocabulary") as caught:
            tokenization.tokenize_corpus(
                [str(folder)], str(tmp_path / "s"), options=options
            )
        return str(caught.value)

    assert "Skipped" not in fail()
    (folder / "b.txt").symlink_to("nowhere")
    assert fail().endswith(f" Skipped: {folder / 'b.txt'}: a dangling link.")


def test_strict_stops_at_the_first_broken_record(tmp_path, small_vocabulary):
    path = _broken_file(tmp_path)
    with pytest.raises(DataError, match=r"broken\.jsonl:2: not valid JSON"):
        tokenization.tokenize_corpus(
            [str(path)],
            str(tmp_path / "store"),
            vocabulary=small_vocabulary,
            strict=True,
        )
    assert not (tmp_path / "store").exists()


def test_overwriting(corpus_file, small_vocabulary, tmp_path):
    output = str(tmp_path / "store")

    def make(**options):
        tokenization.tokenize_corpus(
            [corpus_file], output, vocabulary=small_vocabulary, **options
        )

    make(name="first")
    with pytest.raises(DataError, match="already contains a token store"):
        make()
    assert token_store.read_manifest(output).name == "first"
    make(name="second", overwrite=True)
    assert token_store.read_manifest(output).name == "second"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("precious")
    output = str(tmp_path / "other")
    with pytest.raises(DataError, match="is not a token store"):
        make(overwrite=True)
    assert (tmp_path / "other/file").read_text() == "precious"


def test_full_disk_is_a_clear_error_and_loses_nothing(
    corpus_file, small_vocabulary, tmp_path
):
    output = str(tmp_path / "store")
    arguments = {"vocabulary": small_vocabulary, "overwrite": True}
    tokenization.tokenize_corpus([corpus_file], output, name="first", **arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40000, hard))
    try:
        with pytest.raises(DataError, match=r"Could not write .*File too large"):
            tokenization.tokenize_corpus([corpus_file], output, **arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert token_store.TokenStore.open(output).manifest.name == "first"
    tokenization.tokenize_corpus([corpus_file], output, name="next", **arguments)
    assert token_store.TokenStore.open(output).manifest.name == "next"


def test_nothing_to_train_on(tmp_path, small_vocabulary):
    (tmp_path / "a.txt").write_text("  \n")
    with pytest.raises(DataError, match="no text for the train split"):
        tokenization.tokenize_corpus(
            [str(tmp_path)], str(tmp_path / "store"), vocabulary=small_vocabulary
        )
    with pytest.raises(DataError, match="validation_fraction must be at most 0.99"):
        tokenization.tokenize_corpus(
            [str(tmp_path)],
            str(tmp_path / "store"),
            options=tokenization.TokenizationOptions(validation_fraction=1.0),
        )


def test_long_documents_encode_as_whole_ones(tmp_path, small_vocabulary, texts):
    long = "\n".join(texts)
    (tmp_path / "long.txt").write_text(long)
    output = tokenization.tokenize_corpus(
        [str(tmp_path / "long.txt")],
        str(tmp_path / "store"),
        vocabulary=small_vocabulary,
        options=tokenization.TokenizationOptions(validation_fraction=0),
    )
    split = token_store.TokenStore.open(output).split("train")
    assert len(long) > 3 << 16
    assert split.num_documents == 1
    assert split.read(0, split.num_tokens).tolist() == small_vocabulary.encode(long)


def _tokenize(sources, output, **options):
    """Tokenises the sources and returns the manifest and the log."""
    log = io.StringIO()
    settings = {
        key: options.pop(key) for key in list(options) if hasattr(_OPTIONS, key)
    }
    path = tokenization.tokenize_corpus(
        list(map(str, sources)),
        str(output),
        options=dataclasses.replace(_OPTIONS, **settings),
        progress=log,
        **options,
    )
    return token_store.read_manifest(path), log.getvalue()


def test_what_is_not_read_is_said_and_recorded(
    texts, corpus_file, small_vocabulary, tmp_path
):
    folder = tmp_path / "c"
    (folder / ".git").mkdir(parents=True)
    shutil.copy(corpus_file, folder / "A.JSONL")
    (folder / "empty.jsonl").write_text("\n\n")
    (folder / "zero.txt.gz").write_bytes(b"")
    (folder / "notes.pdf").write_bytes(b"%PDF")
    (folder / "gone.txt").symlink_to("nowhere")
    (folder / "again.jsonl").symlink_to("A.JSONL")
    os.mkfifo(folder / "fifo.txt")
    manifest, log = _tokenize([folder], tmp_path / "store", vocabulary=small_vocabulary)
    documents = sum(entry["documents"] for entry in manifest.splits.values())
    assert documents == len(texts)
    assert manifest.broken_records == {
        "count": 2,
        "first": [
            [f"{folder}/gone.txt", "a dangling link"],
            [
                f"{folder}/zero.txt.gz",
                "truncated or corrupt: the file is empty: it has no gzip member",
            ],
        ],
    }
    assert manifest.source["left_out"] == [
        f"a FIFO, socket or device: 1 ({folder}/fifo.txt)",
        f"another path to the same file or folder: 1 ({folder}/again.jsonl)",
        f"hidden: 1 ({folder}/.git)",
        f"no documents in the file: 1 ({folder}/empty.jsonl)",
        f"unsupported file type: 1 ({folder}/notes.pdf)",
    ]
    for line in manifest.source["left_out"]:
        assert f"skipped, {line}\n" in log
    for origin, reason in manifest.broken_records["first"]:
        assert f"broken record: {origin}: {reason}\n" in log
    with pytest.raises(DataError, match=r"gone\.txt: a dangling link"):
        _tokenize([folder], tmp_path / "s", vocabulary=small_vocabulary, strict=True)


def test_a_file_and_its_link_are_no_train_and_validation(
    corpus_file, small_vocabulary, tmp_path
):
    for make in (os.link, os.symlink):
        other = tmp_path / f"{make.__name__}.jsonl"
        make(corpus_file, other)
        with pytest.raises(DataError, match="both a training and a validation source"):
            _tokenize(
                [corpus_file],
                tmp_path / "store",
                vocabulary=small_vocabulary,
                validation_sources=[str(other)],
            )


def test_no_stream_of_a_file_is_dropped_in_silence(small_vocabulary, tmp_path, texts):
    one, two = (
        lzma.compress("".join(json.dumps({"text": t}) + "\n" for t in part).encode())
        for part in (texts[:200], texts[200:])
    )
    (tmp_path / "whole.jsonl.xz").write_bytes(one + bytes(8) + two + bytes(4))
    manifest, _ = _tokenize(
        [tmp_path / "whole.jsonl.xz"], tmp_path / "whole", vocabulary=small_vocabulary
    )
    assert sum(e["documents"] for e in manifest.splits.values()) == len(texts)
    (tmp_path / "spoilt.jsonl.xz").write_bytes(one + b"\xfe" + two[1:])
    with pytest.raises(DataError, match=r"spoilt\.jsonl\.xz: truncated or corrupt"):
        _tokenize(
            [tmp_path / "spoilt.jsonl.xz"],
            tmp_path / "spoilt",
            vocabulary=small_vocabulary,
            strict=True,
        )


def test_few_documents_are_refused_with_what_helps(tmp_path, small_vocabulary, texts):
    path = tmp_path / "input.txt"
    path.write_text("\n".join(texts))
    with pytest.raises(DataError, match="no text for the validation split") as caught:
        _tokenize(
            [path],
            tmp_path / "store",
            vocabulary=small_vocabulary,
            validation_fraction=0.01,
        )
    for option in ("validation-source", "document-characters", "document-per-line"):
        assert f"--{option}" in str(caught.value)
    assert not (tmp_path / "store").exists()
    read = corpus.ReadOptions(document_characters=2000)
    manifest, _ = _tokenize(
        [path], tmp_path / "store", vocabulary=small_vocabulary, read=read
    )
    whole = path.read_text()
    counts = [manifest.splits[split]["documents"] for split in ("train", "validation")]
    assert sum(counts) > len(whole) / 4000 and min(counts) >= 1
    assert sum(e["text_bytes"] for e in manifest.splits.values()) == len(whole)
    # If the hashes put all documents into validation, this is an error, too.
    with pytest.raises(DataError, match="no text for the train split, which training"):
        _tokenize(
            [path],
            tmp_path / "other",
            validation_fraction=1 - 2**-53,
        )


def test_unknown_tokens_are_said_and_warned_of(tmp_path, texts, small_vocabulary):
    path = tmp_path / "mixed.jsonl"
    mixed = [f"{text} 0123 [{{" for text in texts]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in mixed))
    manifest, log = _tokenize([path], tmp_path / "a", vocabulary=small_vocabulary)
    entry = manifest.splits["train"]
    share = 100 * entry["unknown_tokens"] / entry["tokens"]
    assert share > 0.9
    assert f"({share:.3f} % unknown)" in log
    assert f"warning: {share:.2f} % of the train tokens are unknown" in log
    assert "--character-coverage" in log and "--byte-fallback" in log
    # A vocabulary that was trained on the text knows all of its characters.
    manifest, log = _tokenize([path], tmp_path / "b")
    assert manifest.splits["train"]["unknown_tokens"] == 0
    assert "(0.000 % unknown)" in log and "warning" not in log


def test_byte_fallback_leaves_nothing_unknown(tmp_path, texts):
    rare = "".join(map(chr, range(0x4E00, 0x4E80)))
    path = tmp_path / "mixed.jsonl"
    lines = [*texts, f"the {rare} of"]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in lines))
    unknown = {}
    for byte_fallback in (False, True):
        manifest, _ = _tokenize(
            [path],
            tmp_path / str(byte_fallback),
            vocab_size=500,
            byte_fallback=byte_fallback,
            character_coverage=0.999,
        )
        unknown[byte_fallback] = sum(
            entry["unknown_tokens"] for entry in manifest.splits.values()
        )
    assert unknown == {False: 1, True: 0}


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_give_to_the_vocabulary_by_their_bytes_of_text(tmp_path, suffix):
    """Samples from 50 small files and one large one, which compresses well."""
    for number in range(50):
        lines = [json.dumps({"text": f"small {number} {k:040}"}) for k in range(126)]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"text": f"large {number:043}"}) for number in range(3700)]
    data = "\n".join(lines).encode()
    (tmp_path / f"z.jsonl{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    inputs, _ = tokenization._inputs([str(tmp_path)], [])
    options = tokenization.TokenizationOptions(vocabulary_bytes=100_000)
    sample = tokenization._training_texts(inputs, options, 0.01, io.StringIO(), [])
    assert sum(map(len, sample)) == pytest.approx(100_000, abs=50)
    share = np.mean([text.startswith("large") for text in sample])
    assert share == pytest.approx(0.37, abs=0.04)  # of 2,000: standard deviation 0.01


@pytest.mark.parametrize(
    "name", ["file/store", "x" * 300, "link/store", "a\0b", "\udce9"]
)
def test_impossible_outputs_are_refused(name, corpus_file, small_vocabulary, tmp_path):
    (tmp_path / "file").write_text("precious")
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(DataError, match=r"token store|must be UTF-8"):
        _tokenize([corpus_file], tmp_path / name, vocabulary=small_vocabulary)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"validation_fraction": math.nan}, "validation_fraction must be a finite"),
        ({"character_coverage": 0.0}, "character_coverage must be at least 1e-06"),
        ({"vocab_size": 1 << 31}, "vocab_size must be at most"),
        ({"vocabulary_bytes": 0}, "vocabulary_bytes must be at least 1"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message, corpus_file, tmp_path):
    with pytest.raises(DataError, match=message):
        _tokenize([corpus_file], tmp_path / "store", **options)
