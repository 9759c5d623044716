"""`clinometer overlap`: is what evaluates a model in what it was trained on?"""

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
A row of an evaluation set is one record of its release; its n-grams are those of its
texts as released, without the task's template. "any" is the share of rows of which the
corpus has an n-gram, "most" of which it has 70 % of them; rows that are too short to
have an n-gram are in neither. Sets without files are named ("missing" in the JSON), and
an error only where none has any.

examples:
  clinometer overlap stores/mine --tasks glue,squad --data DIR
  clinometer overlap corpus/ --tasks boolq --data DIR --ngram 8 --json

{exit_codes.described()}
"""


def main(argv: list[str]) -> int:
    """Runs the command with its arguments; returns its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        found = _find(arguments)
    except DataError as error:
        print(f"clinometer overlap: {error}", file=sys.stderr)
        return exit_codes.FAILED
    print(json.dumps(found, indent=1) if arguments.json else _table(found))
    for name, reason in found["missing"].items():
        print(f"overlap: left out {name}: {reason}", file=sys.stderr)
    return exit_codes.DONE


def _find(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `--json` prints."""
    tasks = [
        registry.get(name)
        for name in mixtures.expand(arguments.tasks, registry.names())
    ]
    sets, missing = [], {}
    for task in tasks:
        for split in arguments.splits.split(","):
            name = f"{task.name}/{split}"
            try:
                paths = load.find(task, _folder(task, arguments.data), split)
            except DataError as error:
                missing[name] = str(error)
            else:
                sets.append((name, _rows(task, paths, split)))
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
    """The folder of a task's files; raises DataError where none is given."""
    if task.benchmark == probes.BENCHMARK:
        return str(probes.ensure_folder())
    if folder is None:
        raise DataError(
            f"Task {task.name!r} needs the folder of its files; give it with --data."
        )
    return folder


def _rows(
    task: Task, paths: Sequence[pathlib.Path], split: str
) -> Iterator[Sequence[str]]:
    """The texts of each row of a split, as released."""
    for row in load.rows(task, paths, split):
        if not isinstance(row, Dropped):
            yield [*_texts(row)]


def _texts(record: Any) -> Iterator[str]:
    """All strings of a record, in order, however deep."""
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
    """The corpus's documents; raises at once if there is none."""
    (first, *rest) = arguments.corpus
    if os.path.isfile(os.path.join(first, token_store.MANIFEST)):
        if rest:
            raise DataError(f"{first!r} is a token store; give no other corpus.")
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
                line.message(f"overlap: left out {record.origin}: {record.reason}")
    if broken:
        line.message(f"overlap: {broken:,} broken records were left out")
    for text in corpus_files.summary(left_out):
        line.message(f"overlap: left out, {text}")


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
        description="Reports which n-grams of evaluation sets occur in a corpus.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "corpus",
        nargs="+",
        metavar="CORPUS",
        help="a token store, or text as for `clinometer tokenize`: folders, globs and "
        f"files of {corpus.ACCEPTED}",
    )
    parser.add_argument(
        "--tasks",
        required=True,
        metavar="NAMES",
        help="tasks and mixtures, with commas between them: "
        f"{', '.join(mixtures.MIXTURES)}, any task, path/to/my_task.py",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="the folder of the tasks' public releases"
    )
    parser.add_argument(
        "--splits",
        default="validation",
        metavar="NAMES",
        help="splits of the tasks, with commas between them (default: %(default)s)",
    )
    parser.add_argument(
        "--ngram",
        type=ranges.Whole(),
        default=13,
        metavar="N",
        help="words of an n-gram; 13 and 8 are usual (default: %(default)s)",
    )
    parser.add_argument(
        "--corpus-split",
        default="train",
        metavar="NAME",
        help="split of a token store (default: %(default)s)",
    )
    parser.add_argument(
        "--text-field",
        default="text",
        metavar="NAME",
        help="field of a JSON record of text (default: %(default)s)",
    )
    parser.add_argument(
        "--document-per-line",
        action="store_true",
        help=".txt files: each line is a document (default: each file is one)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON, not a table")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
