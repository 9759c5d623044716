"""The options `--batch-size`, `--encoder-length` and `--decoder-length`."""

import argparse

from clinometer.kernels.options import ranges


def add(
    parser: argparse.ArgumentParser,
    *,
    batch_size: int = 128,
    encoder_length: int = 512,
    decoder_length: int | None = 114,
    lengths_given: bool = False,
) -> None:
    """Adds the options to the parser of a command.

    Args:
        parser: the command's parser.
        batch_size: default of B, examples per batch over all devices.
        encoder_length: default of S, in tokens.
        decoder_length: default of T, in tokens; None to leave the option out.
        lengths_given: whether S and T are None unless they are given, for commands that
            take models of images, too.
    """
    for option, default, meaning in (
        ("--batch-size", batch_size, "examples per batch, over all devices"),
        ("--encoder-length", encoder_length, "encoder tokens per example"),
        ("--decoder-length", decoder_length, "decoder tokens per example"),
    ):
        if default is not None:
            is_length = option != "--batch-size"
            of_texts = " of texts" if is_length and lengths_given else ""
            parser.add_argument(
                option,
                type=ranges.Whole(1),
                default=None if of_texts else default,
                metavar="N",
                help=f"{meaning}{of_texts} (default: {default})",
            )
