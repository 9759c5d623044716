"""`clinometer tokenize`: text files to a token store."""

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
A run that was killed goes on where it was when the same command is given again.

examples:
  clinometer tokenize corpus/ --output stores/news --vocab-size 8192
  clinometer tokenize 'c4/*-train.*.json.gz' --output stores/c4 \\
      --vocabulary t5/spiece.model --validation-source 'c4/*-validation.*.json.gz'

{exit_codes.described({exit_codes.INTERRUPTED: "stopped by Ctrl-C"})}
"""


def main(argv: list[str]) -> int:
    """Runs the command with its arguments; returns its exit code."""
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
            "clinometer tokenize: stopped; the same command goes on from here",
            file=sys.stderr,
        )
        return exit_codes.INTERRUPTED
    return exit_codes.DONE


def _given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Returns the options that have a value, others than which would say nothing.

    Raises:
        OptionError: an option stands beside one that leaves it without effect.
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
            f"{', '.join(map(_flag, training))}: of a vocabulary to be trained; not "
            "beside --vocabulary"
        )
    fraction = arguments.validation_fraction
    if arguments.validation_source and fraction is not None:
        raise OptionError("--validation-fraction: not beside --validation-source")
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
        description="Tokenises text files into a token store, from which models train.",
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
        "--output", required=True, metavar="DIR", help="the token store, a new folder"
    )
    parser.add_argument(
        "--name", help="the corpus's name in reports (default: the folder's)"
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
        help=".txt files: each line is a document (default: each file is one)",
    )
    group.add_argument(
        "--document-characters",
        type=_range("document_characters"),
        metavar="N",
        help="cut longer documents into several of about N characters, at line ends or "
        "blanks, so that a few long ones give a validation split, too (default: none "
        "is cut)",
    )
    group.add_argument(
        "--strict",
        action="store_true",
        help="stop at a broken record (default: report it, count it and go on)",
    )
    group.add_argument(
        "--validation-fraction",
        type=_range("validation_fraction"),
        metavar="X",
        help="share of the documents for validation, chosen by the hash of their "
        f"text (default: {defaults.validation_fraction})",
    )
    group.add_argument(
        "--validation-source",
        action="append",
        default=[],
        metavar="SOURCE",
        help="documents for validation, in place of a share; may be repeated",
    )
    group = parser.add_argument_group("vocabulary")
    group.add_argument(
        "--vocabulary",
        metavar="FILE",
        help="a SentencePiece model with pad 0, eos 1, unk 2, such as T5's "
        "spiece.model (default: train one)",
    )
    group.add_argument(
        "--vocab-size",
        type=_range("vocab_size"),
        metavar="N",
        help="ids of the vocabulary to train, its 100 sentinels included "
        f"(default: {defaults.vocab_size})",
    )
    group.add_argument(
        "--vocabulary-megabytes",
        type=ranges.Real(1e-6, 1e12),
        metavar="N",
        help="text to train it on, of each file by its share of the bytes "
        f"(default: {defaults.vocabulary_bytes / 1e6:g})",
    )
    group.add_argument(
        "--character-coverage",
        type=_range("character_coverage"),
        metavar="X",
        help="share of the text's characters, the commonest first, that the trained "
        "vocabulary knows; lower it for scripts of many characters "
        f"(default: {defaults.character_coverage})",
    )
    group.add_argument(
        "--byte-fallback",
        action="store_true",
        help="the trained vocabulary spells other characters in bytes, for which 256 "
        "of its ids go (default: they are unknown)",
    )
    parser.add_argument(
        "--threads",
        type=_range("num_threads"),
        metavar="N",
        help="threads (default: one for each core)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the store at --output"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
