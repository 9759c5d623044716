"""Tokenises text files into a token store.

An interrupted run resumes from its last finished unit if it is started again with the
same files, options and vocabulary. See `folder` for the location of its work files.
"""

from collections.abc import Sequence
import dataclasses
import glob
import hashlib
import json
import math
import os
from typing import TextIO

from clinometer.data import files
from clinometer.data import paths
from clinometer.data.corpus import documents as corpus
from clinometer.data.corpus import files as corpus_files
from clinometer.data.errors import DataError
from clinometer.data.errors import quoted
from clinometer.data.progress import Progress
from clinometer.data.store import token_store
from clinometer.data.store import tokenized_units
from clinometer.data.store import vocabulary as vocabulary_lib
from clinometer.data.store import vocabulary_sample
from clinometer.data.store import writer as store_writer
from clinometer.data.store.folder import Folder
from clinometer.data.store.tokenized_units import SourceFile

# Accepted ranges of the numeric options, which must be integers where the bounds are.
RANGES = {
    "vocab_size": (
        vocabulary_lib.NUM_SENTINELS + vocabulary_lib.MIN_PIECES,
        vocabulary_lib.MAX_SIZE,
    ),
    "vocabulary_bytes": (1, 1 << 62),
    "character_coverage": (1e-6, 1.0),
    "validation_fraction": (0.0, math.nextafter(1.0, 0.0)),
    "document_characters": (1, (1 << 31) - 1),
    "num_threads": (1, 1024),
}
_JOB_VERSION = 2
_SHOWN_BROKEN = 5
# Warns above this fraction of unknown tokens: too many to be rare characters only.
_UNKNOWN_SHARE = 5e-3
_MIN_TOKENS = 2  # for a split: the shortest row has one text and one noise token


@dataclasses.dataclass(frozen=True)
class TokenizationOptions:
    """Options for tokenisation, all of which change the result.

    Attributes:
        vocab_size: number of ids of the vocabulary to train, sentinels included.
        vocabulary_bytes: bytes of text to train it on.
        character_coverage: see `vocabulary.train`; None loses digits in prose.
        byte_fallback: see `vocabulary.train`.
        validation_fraction: of the documents, unless there are validation sources.
        read: how to split files into documents.
    """

    vocab_size: int = 32100
    vocabulary_bytes: int = 32_000_000
    character_coverage: float | None = 0.99995
    byte_fallback: bool = False
    validation_fraction: float = 0.01
    read: corpus.ReadOptions = corpus.ReadOptions()


def tokenize_corpus(
    sources: Sequence[str],
    output: str,
    *,
    validation_sources: Sequence[str] = (),
    vocabulary: vocabulary_lib.Vocabulary | None = None,
    options: TokenizationOptions = TokenizationOptions(),
    name: str | None = None,
    description: dict | None = None,
    strict: bool = False,
    overwrite: bool = False,
    num_threads: int | None = None,
    progress: TextIO | None = None,
) -> str:
    """Tokenises the sources into a token store, training a vocabulary if none is given.

    Args:
        sources: folders, globs and files (see `corpus.files`).
        output: path of the store, a folder that is created.
        validation_sources: validation documents; empty => a fraction of `sources`.
        vocabulary: the vocabulary to use; None => train one on the training documents.
        options: other options that change the result.
        name: name of the corpus in reports; None => the last part of `output`.
        description: additional keys for the manifest's `source`.
        strict: whether a broken record is an error; by default it is skipped.
        overwrite: whether to replace an existing store.
        num_threads: SentencePiece threads; None => one per core.
        progress: where progress is written; None => standard error.

    Returns:
        The absolute path of the store.

    Raises:
        DataError: bad sources or options, no text, an existing `output`, a full disk.
    """
    output = os.path.abspath(output)
    _check_options(options, num_threads)
    inputs, found = _inputs(sources, validation_sources)
    fraction = 0.0 if validation_sources else options.validation_fraction
    job = _describe_job(inputs, options, fraction, vocabulary)
    folder = Folder(output)
    num_threads = num_threads or len(os.sched_getaffinity(0))
    with (
        files.disk_errors(f"token store {output!r}"),
        files.lock(output + ".lock", wait=False),
    ):
        units = tokenized_units.Units(folder.units)
        if folder.begin(job, overwrite):
            line = Progress("tokenize", stream=progress)
            line.message(f"tokenize: resuming the interrupted run for {output}")
            if units.drop_damaged():
                line.message("tokenize: damaged work files found; redoing that part")
        if vocabulary is None:
            vocabulary = _vocabulary(
                folder, units, inputs, found, options, fraction, progress
            )
        left_out = _tokenize_rest(
            units,
            inputs,
            found,
            options,
            fraction,
            vocabulary,
            strict,
            num_threads,
            progress,
        )
        source = {
            "sources": [str(source) for source in sources],
            "validation_sources": [str(source) for source in validation_sources],
            "validation_fraction": fraction,
            "files": len(inputs),
            "bytes": sum(source.bytes for source in inputs),
            "left_out": corpus_files.summary(left_out),
            **dataclasses.asdict(options.read),
            **(description or {}),
        }
        os.makedirs(folder.store, exist_ok=True)
        manifest = store_writer.write_store(
            folder.store,
            units,
            vocabulary,
            name=name or os.path.basename(output),
            source=source,
            broken=found.broken,
        )
        folder.finish()
    _report(manifest, output, progress)
    return output


def _check_options(options: TokenizationOptions, num_threads: int | None) -> None:
    """Raises DataError if an option is out of range."""
    values = vars(options) | vars(options.read) | {"num_threads": num_threads}
    for name, (least, most) in RANGES.items():
        value = values[name]
        if value is None:
            continue
        if type(value) not in (int, type(most)) or not math.isfinite(value):
            kind = "whole" if isinstance(most, int) else "finite"
            raise DataError(f"{name} must be a {kind} number, got {quoted(value)}.")
        if value < least:
            raise DataError(f"{name} must be at least {least}, got {quoted(value)}.")
        if value > most:
            raise DataError(f"{name} must be at most {most}, got {quoted(value)}.")


def _inputs(
    sources: Sequence[str], validation_sources: Sequence[str]
) -> tuple[list[SourceFile], corpus_files.Found]:
    """Returns the files to read, and everything found in the sources."""
    found = corpus_files.find(sources)
    if not validation_sources:
        return tokenized_units.source_files(found.files, None), found
    held_out = corpus_files.find(validation_sources)
    train = {_identity(path): path for path in found.files}
    for path in held_out.files:
        if (same := train.get(_identity(path))) is not None:
            names = f"{path!r}" if path == same else f"{same!r} and {path!r}"
            raise DataError(f"{names}: both a training and a validation source.")
    inputs = tokenized_units.source_files(found.files, "train")
    inputs += tokenized_units.source_files(held_out.files, "validation")
    return inputs, corpus_files.Found(
        files=found.files + held_out.files,
        left_out=found.left_out + held_out.left_out,
        broken=found.broken + held_out.broken,
    )


def _identity(path: str) -> tuple[int, int]:
    """Returns a file's device and inode, which are the same for all its paths."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _describe_job(
    inputs: list[SourceFile],
    options: TokenizationOptions,
    fraction: float,
    vocabulary: vocabulary_lib.Vocabulary | None,
) -> str:
    """Returns everything that the result depends on, as JSON."""
    job = {
        "version": _JOB_VERSION,
        "inputs": [dataclasses.asdict(source) for source in inputs],
        "options": dataclasses.asdict(options),
        "fraction": fraction,
        "vocabulary": vocabulary.sha256 if vocabulary else None,
        "unit_characters": tokenized_units.UNIT_CHARACTERS,
        "block_tokens": token_store.BLOCK_TOKENS,
    }
    return json.dumps(job, indent=1)


def _vocabulary(
    folder: Folder,
    units: tokenized_units.Units,
    inputs: list[SourceFile],
    found: corpus_files.Found,
    options: TokenizationOptions,
    fraction: float,
    stream: TextIO | None,
) -> vocabulary_lib.Vocabulary:
    """Returns the vocabulary that an interrupted run has trained, or trains one."""
    for file in glob.glob("vocabulary-*.model", root_dir=folder.work):
        with open(os.path.join(folder.work, file), "rb") as opened:
            model = opened.read()
        if file == _model_name(model):  # else it is damaged
            return vocabulary_lib.Vocabulary(model)
    units.drop()
    broken: list[corpus.BrokenRecord] = []
    progress = Progress("vocabulary", stream=stream)
    try:
        texts = _training_texts(inputs, options, fraction, stream, broken)
        progress.message(f"vocabulary: training {options.vocab_size} ids")
        trained = vocabulary_lib.train(
            texts,
            options.vocab_size,
            options.vocabulary_bytes,
            character_coverage=options.character_coverage,
            byte_fallback=options.byte_fallback,
        )
    except DataError as error:  # Broken records and links may be the cause.
        for record in broken:
            progress.message(_said(record))
        if not found.broken:
            raise
        skipped = "; ".join(corpus_files.reasons(found.broken))
        raise DataError(f"{error} Skipped: {skipped}.") from error
    file = os.path.join(folder.work, _model_name(trained.model))
    paths.write_bytes(file, trained.model)
    progress.finish(f"{trained.size} ids, sha256 {trained.sha256[:12]}")
    return trained


def _model_name(model: bytes) -> str:
    return f"vocabulary-{hashlib.sha256(model).hexdigest()}.model"


def _training_texts(
    inputs: list[SourceFile],
    options: TokenizationOptions,
    fraction: float,
    stream: TextIO | None,
    broken: list[corpus.BrokenRecord],
) -> list[str]:
    """Returns a sample of the training documents; adds broken records to `broken`."""
    train = [source for source in inputs if source.split != "validation"]
    total = sum(source.bytes for source in train)
    sample, documents = vocabulary_sample.Sample(options.vocabulary_bytes), 0
    with Progress("vocabulary", total, "documents", stream) as progress:
        for source, item, position in tokenized_units.read(train, options.read):
            if isinstance(item, corpus.BrokenRecord) and len(broken) < _SHOWN_BROKEN:
                broken.append(item)
            if not isinstance(item, corpus.Document):
                continue
            split = source.split or tokenized_units.split_of(item.text, fraction)
            if split == "train":
                sample.add(item.text)
                documents += 1
            progress.update(position.bytes, documents)
    if not documents:
        raise DataError(_no_split("train", options, fraction))
    return sample.texts()


def _tokenize_rest(
    units: tokenized_units.Units,
    inputs: list[SourceFile],
    found: corpus_files.Found,
    options: TokenizationOptions,
    fraction: float,
    vocabulary: vocabulary_lib.Vocabulary,
    strict: bool,
    num_threads: int,
    stream: TextIO | None,
) -> list[corpus.LeftOut]:
    """Tokenises the rest of the sources and returns the files that were skipped."""
    total = sum(source.bytes for source in inputs)
    progress = Progress("tokenize", total, "tokens", stream)
    start, broken, left_out = tokenized_units.Position(), 0, list(found.left_out)
    tokens = dict.fromkeys(tokenized_units.SPLITS, 0)

    def add(unit: tokenized_units.Unit) -> None:
        for split, ids in unit.tokens.items():
            tokens[split] += len(ids)
        left_out.extend(corpus.LeftOut(*item) for item in unit.left_out)

    def on_broken(record: corpus.BrokenRecord) -> None:
        nonlocal broken
        broken += 1
        if strict:
            raise DataError(f"Broken record: {record.origin}: {record.reason}")
        if broken <= _SHOWN_BROKEN:
            progress.message(_said(record))

    for record in found.broken:
        on_broken(record)
    for unit in units:
        add(unit)
        start, broken = unit.end, broken + unit.broken
    if strict and broken:
        raise DataError(
            f"The interrupted run found {broken} broken records, and --strict is set."
        )
    progress.update(start.bytes, sum(tokens.values()))
    rest = tokenized_units.tokenize(
        inputs,
        options.read,
        vocabulary,
        fraction,
        start=start,
        num_threads=num_threads,
        on_broken=on_broken,
    )
    with progress:
        for unit in rest:
            units.add(unit)
            add(unit)
            progress.update(unit.end.bytes, sum(tokens.values()))
    progress.finish(f"{sum(tokens.values()):,} tokens, {broken:,} broken records")
    for line in corpus_files.summary(left_out):
        progress.message(f"skipped, {line}")
    for split, count in tokens.items():
        wanted = split == "train" or fraction or inputs[-1].split == split
        if count < _MIN_TOKENS and wanted:
            raise DataError(_no_split(split, options, fraction))
    return left_out


def _said(record: corpus.BrokenRecord) -> str:
    return f"broken record: {record.origin}: {record.reason}"


def _no_split(split: str, options: TokenizationOptions, fraction: float) -> str:
    """Returns the error message for a split without text, with options that help."""
    if not fraction:
        return f"The sources have no text for the {split} split; nothing was written."
    ways = ["add --validation-source", "change --validation-fraction"]
    if not options.read.document_characters:
        ways.append("split long documents (--document-characters 10000)")
    if not options.read.document_per_line:
        ways.append("make each line of .txt files a document (--document-per-line)")
    return (
        f"The sources have no text for the {split} split, which training needs; a "
        f"fraction of {fraction} of the documents is for validation, chosen by hash. "
        f"If there are few documents, {', '.join(ways[:-1])}, or {ways[-1]}."
    )


def _report(manifest: token_store.Manifest, output: str, stream: TextIO | None) -> None:
    splits = ", ".join(
        f"{split} {entry['documents']:,} documents {entry['tokens']:,} tokens "
        f"({100 * entry['unknown_tokens'] / entry['tokens']:.3f} % unknown)"
        for split, entry in manifest.splits.items()
    )
    progress = Progress("tokenize", stream=stream)
    progress.message(f"wrote {output}: {splits}")
    for split, entry in manifest.splits.items():
        share = entry["unknown_tokens"] / entry["tokens"]
        if share > _UNKNOWN_SHARE:
            progress.message(
                f"tokenize: warning: {100 * share:.2f} % of the {split} tokens are "
                "unknown; train a vocabulary with a larger --character-coverage or "
                "with --byte-fallback, or choose one that fits this text"
            )
    if "validation" not in manifest.splits:
        progress.message(
            "tokenize: warning: there are no validation documents, which training "
            "needs; add --validation-source or increase --validation-fraction"
        )
