"""From files of text to a token store.

Work lies in `OUTPUT.partial` until the store is whole, then takes its place by a
rename. A run that was cut off goes on from its last finished unit, if it is called
with the same files, options and vocabulary.
"""

from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import dataclasses
import glob
import json
import os
import shutil
from typing import TextIO

from clinometer.data import corpus
from clinometer.data import files
from clinometer.data import store_writer
from clinometer.data import token_store
from clinometer.data import tokenized_units
from clinometer.data import vocabulary as vocabulary_lib
from clinometer.data.errors import DataError
from clinometer.data.progress import Progress
from clinometer.data.tokenized_units import SourceFile

_JOB_VERSION = 1
_SHOWN_BROKEN = 5


@dataclasses.dataclass(frozen=True)
class Options:
    """How to tokenise; every field changes the result."""

    vocab_size: int = 32100  # of a vocabulary to be trained, sentinels included
    vocabulary_bytes: int = 32 << 20  # text to train it on
    validation_fraction: float = 0.01  # by document hash; unused with own sources
    read: corpus.ReadOptions = corpus.ReadOptions()


def tokenize_corpus(
    sources: Sequence[str],
    output: str,
    *,
    validation_sources: Sequence[str] = (),
    vocabulary: vocabulary_lib.Vocabulary | None = None,
    options: Options = Options(),
    name: str | None = None,
    description: dict | None = None,
    strict: bool = False,
    overwrite: bool = False,
    num_threads: int | None = None,
    progress: TextIO | None = None,
) -> str:
    """Reads sources, trains or takes a vocabulary, and writes a token store.

    Args:
      sources: folders, globs and files (see `corpus`).
      output: the store's folder, made here.
      validation_sources: documents for validation; empty => a share of `sources`.
      vocabulary: the vocabulary to use; None => train one on the train documents.
      options: what else changes the result.
      name: of the corpus, for reports; None => the last part of `output`.
      description: more keys for the manifest's `source`.
      strict: a broken record is an error; else it is reported, counted, left out.
      overwrite: replace a store that is there already.
      num_threads: threads of SentencePiece; None => one for each core.
      progress: where progress is written; None => standard error.

    Returns:
      `output`.

    Raises:
      DataError: bad sources or options, no text, `output` is taken, the disk is full.
    """
    output = os.path.abspath(output)
    if not 0 <= options.validation_fraction < 1:
        raise DataError(
            f"validation_fraction is {options.validation_fraction}; accepted is [0, 1)."
        )
    inputs = _source_files(sources, validation_sources)
    fraction = 0.0 if validation_sources else options.validation_fraction
    _check_output(output, overwrite)
    job = _describe_job(inputs, options, fraction, vocabulary)
    partial = output + ".partial"
    num_threads = num_threads or len(os.sched_getaffinity(0))
    with (
        files.disk_errors(f"token store {output!r}"),
        files.lock(output + ".lock", wait=False),
    ):
        _start_or_continue(partial, job, progress)
        vocabulary = _vocabulary(
            partial, vocabulary, inputs, options, fraction, progress
        )
        units = _Units(os.path.join(partial, "units"))
        _tokenize_rest(
            units, inputs, options, fraction, vocabulary, strict, num_threads, progress
        )
        source = {
            "sources": [str(source) for source in sources],
            "validation_sources": [str(source) for source in validation_sources],
            "validation_fraction": fraction,
            "files": len(inputs),
            "bytes": sum(source.bytes for source in inputs),
            **dataclasses.asdict(options.read),
            **(description or {}),
        }
        store = os.path.join(partial, "store")
        os.makedirs(store, exist_ok=True)
        manifest = store_writer.write_store(
            store,
            units,
            vocabulary,
            name=name or os.path.basename(output),
            source=source,
        )
        _put_in_place(store, output, partial)
    _report(manifest, output, progress)
    return output


def _source_files(
    sources: Sequence[str], validation_sources: Sequence[str]
) -> list[SourceFile]:
    if not validation_sources:
        return tokenized_units.source_files(corpus.find_files(sources), None)
    train = corpus.find_files(sources)
    validation = corpus.find_files(validation_sources)
    both = set(map(os.path.abspath, train)) & set(map(os.path.abspath, validation))
    if both:
        raise DataError(f"{min(both)!r} is a train and a validation source at once.")
    return tokenized_units.source_files(train, "train") + tokenized_units.source_files(
        validation, "validation"
    )


def _check_output(output: str, overwrite: bool) -> None:
    if not os.path.lexists(output):
        return
    is_store = os.path.isfile(os.path.join(output, token_store.MANIFEST))
    if not is_store and (not os.path.isdir(output) or os.listdir(output)):
        raise DataError(
            f"{output!r} exists and is not a token store; give another folder."
        )
    if is_store and not overwrite:
        raise DataError(
            f"{output!r} holds a token store already; give another folder, or "
            "overwrite it (--overwrite)."
        )


def _describe_job(
    inputs: list[SourceFile],
    options: Options,
    fraction: float,
    vocabulary: vocabulary_lib.Vocabulary | None,
) -> str:
    """Everything that the result depends on, as text."""
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


def _start_or_continue(partial: str, job: str, stream: TextIO | None) -> None:
    """Keeps an earlier run's work if it was the same job, else clears it away."""
    file = os.path.join(partial, "job.json")
    if os.path.isdir(partial):
        with contextlib.suppress(OSError), open(file, encoding="utf-8") as opened:
            if opened.read() == job:
                Progress("tokenize", stream=stream).message(
                    f"tokenize: continuing the run that was cut off in {partial}"
                )
                return
        shutil.rmtree(partial)
    os.makedirs(os.path.join(partial, "units"))
    files.write_whole(file, job.encode())


def _vocabulary(
    partial: str,
    given: vocabulary_lib.Vocabulary | None,
    inputs: list[SourceFile],
    options: Options,
    fraction: float,
    stream: TextIO | None,
) -> vocabulary_lib.Vocabulary:
    if given is not None:
        return given
    file = os.path.join(partial, token_store.VOCABULARY)
    if os.path.isfile(file):
        return vocabulary_lib.Vocabulary.load(file)
    progress = Progress("vocabulary", stream=stream)
    progress.message(f"vocabulary: training {options.vocab_size} ids")
    texts = _training_texts(inputs, options, fraction)
    trained = vocabulary_lib.train(texts, options.vocab_size, options.vocabulary_bytes)
    files.write_whole(file, trained.model)
    progress.finish(f"{trained.size} ids, sha256 {trained.sha256[:12]}")
    return trained


def _training_texts(
    inputs: list[SourceFile], options: Options, fraction: float
) -> Iterator[str]:
    """Train documents: from the start of each file, an even share of the bytes."""
    train = [source for source in inputs if source.split != "validation"]
    left = options.vocabulary_bytes
    for number, source in enumerate(train):
        share = left / (len(train) - number)
        taken = 0
        for _, item, _ in tokenized_units.read([source], options.read):
            if isinstance(item, corpus.BrokenRecord):
                continue  # reported when it is tokenised
            split = source.split or tokenized_units.split_of(item.text, fraction)
            if split == "train":
                yield item.text
                taken += len(item.text.encode("utf-8"))
            if taken >= share:
                break
        left = max(0, left - taken)


class _Units:
    """The finished units in a folder, in order."""

    def __init__(self, folder: str):
        self._folder = folder

    def paths(self) -> list[str]:
        return sorted(glob.glob(os.path.join(glob.escape(self._folder), "*.npz")))

    def add(self, unit: tokenized_units.Unit) -> None:
        unit.save(os.path.join(self._folder, f"{len(self.paths()):06d}.npz"))

    def __iter__(self) -> Iterator[tokenized_units.Unit]:
        return map(tokenized_units.Unit.load, self.paths())


def _tokenize_rest(
    units: _Units,
    inputs: list[SourceFile],
    options: Options,
    fraction: float,
    vocabulary: vocabulary_lib.Vocabulary,
    strict: bool,
    num_threads: int,
    stream: TextIO | None,
) -> None:
    """Adds units until the sources are at their end."""
    total = sum(source.bytes for source in inputs)
    progress = Progress("tokenize", total, "tokens", stream)
    start, tokens, broken = tokenized_units.Position(), 0, 0
    for unit in units:
        start, tokens = unit.end, tokens + unit.num_tokens()
        broken += unit.broken
    if strict and broken:
        raise DataError(
            f"{broken} broken records were found before this run was cut off, and "
            "strict is set; run without it, or mend the files."
        )
    progress.update(start.bytes, tokens)

    def on_broken(record: corpus.BrokenRecord) -> None:
        nonlocal broken
        broken += 1
        if strict:
            raise DataError(f"Broken record: {record.origin}: {record.reason}")
        if broken <= _SHOWN_BROKEN:
            progress.message(f"broken record: {record.origin}: {record.reason}")

    rest = tokenized_units.tokenize(
        inputs,
        options.read,
        vocabulary,
        fraction,
        start=start,
        num_threads=num_threads,
        on_broken=on_broken,
    )
    for unit in rest:
        units.add(unit)
        tokens += unit.num_tokens()
        progress.update(unit.end.bytes, tokens)
    progress.finish(f"{tokens:,} tokens, {broken} broken records")


def _put_in_place(store: str, output: str, partial: str) -> None:
    """Moves the finished store to `output`; an old store goes only after that."""
    if os.path.isdir(output) and not os.listdir(output):
        os.rmdir(output)
    if os.path.isdir(output):
        replaced = os.path.join(partial, "replaced")
        if os.path.isdir(replaced):
            shutil.rmtree(replaced)
        os.rename(output, replaced)
    os.rename(store, output)
    shutil.rmtree(partial)


def _report(manifest: token_store.Manifest, output: str, stream: TextIO | None) -> None:
    splits = ", ".join(
        f"{split} {entry['documents']:,} documents {entry['tokens']:,} tokens"
        for split, entry in manifest.splits.items()
    )
    progress = Progress("tokenize", stream=stream)
    progress.message(f"wrote {output}: {splits}")
    if "validation" not in manifest.splits:
        progress.message(
            "tokenize: no document is for validation, which training needs; give "
            "validation sources or a larger validation fraction"
        )
