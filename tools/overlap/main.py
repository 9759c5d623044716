"""Implements `clinometer overlap`: finds evaluation data in a pretraining corpus."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import dataclasses
import itertools
import json
import os
import pathlib
import sys
from typing import Any

from clinometer.data import paths
from clinometer.data.corpus import documents as corpus
from clinometer.data.corpus import files as corpus_files
from clinometer.data.errors import DataError
from clinometer.data.mixtures import rates as mixtures
from clinometer.data.pretraining import overlap
from clinometer.data.progress import Progress
from clinometer.data.store import token_store
from clinometer.data.tasks import load
from clinometer.data.tasks import probes
from clinometer.data.tasks import registry
from clinometer.data.tasks.task import Dropped
from clinometer.data.tasks.task import Task
from clinometer.kernels import terminal
from clinometer.kernels.options import ranges
from clinometer.train import exit_codes

_SHOWN_BROKEN = 5
_EPILOG = f"""\
A row is one record of an evaluation set. Its n-grams are those of its texts as
released, without the task's template. "any" counts the rows with at least one n-gram
in the corpus, "most" those with at least 70 % of their n-grams in it. Rows that are too
short for an n-gram ("short") are in neither. Evaluation sets whose files are missing
are listed ("missing" in the JSON); it is an error only if there are none left.

examples:
  clinometer overlap stores/mine --tasks glue,squad --data DIR
  clinometer overlap corpus/ --tasks boolq --data DIR --ngram 8 --json

{exit_codes.described()}
"""


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        found = _find(arguments)
    except DataError as error:
        print(f"clinometer overlap: {error}", file=sys.stderr)
        return exit_codes.FAILED
    print(json.dumps(found, indent=1) if arguments.json else _table(found))
    for name, reason in found["missing"].items():
        print(f"overlap: skipped {name}: {reason}", file=sys.stderr)
    return exit_codes.DONE


def _find(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns what `--json` prints."""
    tasks = [
        registry.get(name)
        for name in mixtures.expand(arguments.tasks, registry.names())
    ]
    sets, missing = [], {}
    for task in tasks:
        for split in arguments.splits.split(","):
            name = f"{task.name}/{split}"
            try:
                files = load.find(task, _folder(task, arguments.data), split)
            except DataError as error:
                missing[name] = str(error)
            else:
                sets.append((name, _rows(task, files, split)))
    if not sets:
        raise DataError("\n".join(missing.values()))
    with Progress("overlap", unit="words") as line:
        documents = _documents(arguments, line)
        finder = overlap.Finder(sets, arguments.ngram)
        for document in documents:
            finder.add(document)
            line.update(finder.documents, finder.words)
    line.finish(f"{finder.words:,} words of {finder.documents:,} documents")
    return {
        "corpus": arguments.corpus,
        "n": finder.n,
        "documents": finder.documents,
        "words": finder.words,
        "sets": [dataclasses.asdict(result) for result in finder.results()],
        "missing": missing,
    }


def _folder(task: Task, folder: str | None) -> str:
    """Returns the folder of a task's files; raises DataError if none was given."""
    if task.benchmark == probes.BENCHMARK:
        return str(probes.ensure_folder())
    if folder is None:
        raise DataError(
            f"Task {task.name!r} needs the folder with its files; give it with --data."
        )
    return folder


def _rows(
    task: Task, paths: Sequence[pathlib.Path], split: str
) -> Iterator[Sequence[str]]:
    """Yields the texts of each row of a split, as released."""
    for row in load.rows(task, paths, split):
        if not isinstance(row, Dropped):
            yield [*_texts(row)]


def _texts(record: Any) -> Iterator[str]:
    """Yields all strings of a record, in order, at any depth."""
    waiting = [record]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += reversed(value.values())
        elif isinstance(value, list | tuple):
            waiting += reversed(value)


def _documents(arguments: argparse.Namespace, line: Progress) -> Iterator[str]:
    """Returns the corpus's documents; raises DataError at once if there are none."""
    (first, *rest) = arguments.corpus
    manifest = os.path.join(first, token_store.MANIFEST)
    if paths.is_remote(first) or os.path.isfile(manifest):
        if rest:
            raise DataError(
                f"{first!r} is a token store and must be the only corpus given."
            )
        store = token_store.TokenStore.open(first)
        store.split(arguments.corpus_split)
        return overlap.store_documents(store, arguments.corpus_split)
    options = corpus.ReadOptions(
        text_field=arguments.text_field, document_per_line=arguments.document_per_line
    )
    return _text_documents(corpus_files.find(arguments.corpus), options, line)


def _text_documents(
    found: corpus_files.Found, options: corpus.ReadOptions, line: Progress
) -> Iterator[str]:
    broken, left_out = 0, list(found.left_out)
    files = (corpus.read_file(path, options) for path in found.files)
    for record in itertools.chain(found.broken, itertools.chain.from_iterable(files)):
        if isinstance(record, corpus.Document):
            yield record.text
        elif isinstance(record, corpus.LeftOut):
            left_out.append(record)
        else:
            broken += 1
            if broken <= _SHOWN_BROKEN:
                line.message(f"overlap: skipped {record.origin}: {record.reason}")
    if broken:
        line.message(f"overlap: skipped {broken:,} broken records")
    for text in corpus_files.summary(left_out):
        line.message(f"overlap: skipped, {text}")


def _table(found: dict[str, Any]) -> str:
    head = ("set", "rows", "short", "any", "most", f"{found['n']}-grams", "found")
    rows = [
        (
            one["name"],
            f"{one['rows']:,}",
            f"{one['rows_short']:,}",
            f"{one['rows_any']:,} ({_percent(one['rows_any'], one['rows'])})",
            f"{one['rows_most']:,} ({_percent(one['rows_most'], one['rows'])})",
            f"{one['ngrams']:,}",
            _percent(one["ngrams_found"], one["ngrams"]),
        )
        for one in found["sets"]
    ]
    return "\n".join(terminal.table(rows, head))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer overlap",
        description="Reports how many rows and n-grams of evaluation sets occur in a "
        "pretraining corpus.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help="a token store, or text as for `clinometer tokenize` (folders, globs and "
        f"files): {corpus.ACCEPTED}",
    )
    parser.add_argument(
        "--tasks",
        required=True,
        metavar="NAMES",
        help="comma-separated tasks and mixtures: "
        f"{', '.join(mixtures.MIXTURES)}, any task, path/to/my_task.py",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder with the tasks' public releases"
    )
    parser.add_argument(
        "--splits",
        default="validation",
        metavar="NAMES",
        help="comma-separated splits of the tasks (default: %(default)s)",
    )
    parser.add_argument(
        "--ngram",
        type=ranges.Whole(),
        default=13,
        metavar="N",
        help="words in an n-gram; 13 and 8 are common (default: %(default)s)",
    )
    parser.add_argument(
        "--corpus-split",
        default="train",
        metavar="NAME",
        help="split of the token store (default: %(default)s)",
    )
    parser.add_argument(
        "--text-field",
        default="text",
        metavar="NAME",
        help="field of a JSON record that holds the text (default: %(default)s)",
    )
    parser.add_argument(
        "--document-per-line",
        action="store_true",
        help="treat each line of a .txt file as a document (default: each file)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON instead of a table"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
