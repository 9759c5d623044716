"""Implements `clinometer tokenize`: turns text files into a token store."""

import argparse
import sys
from typing import Any

from clinometer.data.corpus import documents as corpus
from clinometer.data.errors import DataError
from clinometer.data.store import tokenization
from clinometer.data.store.vocabulary import Vocabulary
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.options.errors import OptionError
from clinometer.train import exit_codes

_EPILOG = f"""\
To resume an interrupted run, give the same command again.

examples:
  clinometer tokenize corpus/ --output stores/news --vocab-size 8192
  clinometer tokenize 'c4/*-train.*.json.gz' --output stores/c4 \\
      --vocabulary t5/spiece.model --validation-source 'c4/*-validation.*.json.gz'

{exit_codes.described({exit_codes.INTERRUPTED: "stopped by Ctrl-C"})}
"""


def main(argv: list[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        outputs.check_folder("--output", arguments.output)
        given = _given(arguments)
        vocabulary = None
        if arguments.vocabulary:
            vocabulary = Vocabulary.load(arguments.vocabulary)
        tokenization.tokenize_corpus(
            arguments.sources,
            arguments.output,
            validation_sources=arguments.validation_source,
            vocabulary=vocabulary,
            options=tokenization.TokenizationOptions(
                **given,
                read=corpus.ReadOptions(
                    text_field=arguments.text_field,
                    document_per_line=arguments.document_per_line,
                    document_characters=arguments.document_characters,
                ),
            ),
            name=arguments.name,
            strict=arguments.strict,
            overwrite=arguments.overwrite,
            num_threads=arguments.threads,
        )
    except (DataError, OptionError) as error:
        print(f"clinometer tokenize: {error}", file=sys.stderr)
        return exit_codes.of_error(error)
    except KeyboardInterrupt:
        print(
            "clinometer tokenize: stopped; give the same command again to resume",
            file=sys.stderr,
        )
        return exit_codes.INTERRUPTED
    return exit_codes.DONE


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the fields of `tokenization.Options` that were given.

    Raises:
        OptionError: another option leaves a given one without effect.
    """
    megabytes = arguments.vocabulary_megabytes
    training = {
        "vocab_size": arguments.vocab_size,
        "vocabulary_bytes": None if megabytes is None else int(megabytes * 1e6),
        "character_coverage": arguments.character_coverage,
        "byte_fallback": arguments.byte_fallback or None,
    }
    training = {name: x for name, x in training.items() if x is not None}
    if arguments.vocabulary and training:
        raise OptionError(
            f"{', '.join(map(_flag, training))}: only for training a vocabulary; "
            "cannot be used with --vocabulary"
        )
    fraction = arguments.validation_fraction
    if arguments.validation_source and fraction is not None:
        raise OptionError(
            "--validation-fraction: cannot be used with --validation-source"
        )
    return training | ({} if fraction is None else {"validation_fraction": fraction})


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-").replace("bytes", "megabytes")


def _range(name: str) -> ranges.Whole | ranges.Real:
    least, most = tokenization.RANGES[name]
    if isinstance(most, int):
        return ranges.Whole(least, most)
    return ranges.Real(least, most)


def _parser() -> argparse.ArgumentParser:
    defaults = tokenization.TokenizationOptions()
    parser = argparse.ArgumentParser(
        prog="clinometer tokenize",
        description="Tokenizes text files into a token store to train models on.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help=f"a folder (searched recursively), a glob or a file: {corpus.ACCEPTED}",
    )
    parser.add_argument(
        "--output", required=True, metavar="DIR", help="new folder for the token store"
    )
    parser.add_argument(
        "--name", help="name of the corpus in reports (default: the folder's name)"
    )
    group = parser.add_argument_group("documents")
    group.add_argument(
        "--text-field",
        default="text",
        metavar="NAME",
        help="field of a JSON record that holds the text (default: %(default)s)",
    )
    group.add_argument(
        "--document-per-line",
        action="store_true",
        help="treat each line of a .txt file as a document (default: each file)",
    )
    group.add_argument(
        "--document-characters",
        type=_range("document_characters"),
        metavar="N",
        help="split longer documents into pieces of about N characters, at line ends "
        "or blanks, so that a few long documents also yield a validation split "
        "(default: don't split)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="stop at a broken record (default: report and skip it)",
    )
    group.add_argument(
        "--validation-fraction",
        type=_range("validation_fraction"),
        metavar="X",
        help="fraction of the documents to use for validation, chosen by the hash of "
        f"their text (default: {defaults.validation_fraction})",
    )
    group.add_argument(
        "--validation-source",
        action="append",
        default=[],
        metavar="SOURCE",
        help="documents for validation, instead of a fraction of SOURCE; may be "
        "repeated",
    )
    group = parser.add_argument_group("vocabulary")
    group.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="a SentencePiece model with pad 0, eos 1, unk 2, such as T5's "
        "spiece.model (default: train a vocabulary)",
    )
    group.add_argument(
        "--vocab-size",
        type=_range("vocab_size"),
        metavar="N",
        help="size of the vocabulary to train, including its 100 sentinels "
        f"(default: {defaults.vocab_size})",
    )
    group.add_argument(
        "--vocabulary-megabytes",
        type=ranges.Real(1e-6, 1e12),
        metavar="N",
        help="megabytes of text to train the vocabulary on, sampled from each file in "
        f"proportion to its size (default: {defaults.vocabulary_bytes / 1e6:g})",
    )
    group.add_argument(
        "--character-coverage",
        type=_range("character_coverage"),
        metavar="X",
        help="fraction of the characters of the text that the trained vocabulary must "
        "cover, the most common first; lower it for scripts with many characters "
        f"(default: {defaults.character_coverage})",
    )
    group.add_argument(
        "--byte-fallback",
        action="store_true",
        help="let the trained vocabulary encode all other characters as bytes, which "
        "takes 256 of its ids (default: they become the unknown token)",
    )
    parser.add_argument(
        "--threads",
        type=_range("num_threads"),
        metavar="N",
        help="number of threads (default: one per core)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an existing store at --output"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
