"""Collects the parsers of all subcommands, which their modules build when called."""

import argparse
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
import contextlib
import importlib
from typing import Any


class _ParsesError(BaseException):
    """Leaves a command where it parses its arguments; no command catches it."""

    def __init__(self, parser: argparse.ArgumentParser):
        super().__init__()
        self.parser = parser


def of_command(module: str) -> argparse.ArgumentParser | None:
    """Returns the parser of a subcommand; no command does anything before it parses.

    Args:
        module: the module whose `main` is the subcommand.

    Returns:
        The parser, or None if a package that the subcommand needs is not installed.
    """

    def leave(parser: argparse.ArgumentParser, *unused: object) -> None:
        raise _ParsesError(parser)

    with _parsing(leave):
        try:
            importlib.import_module(module).main([])
        except _ParsesError as found:
            return found.parser
        except ModuleNotFoundError:
            return None
    raise AssertionError(f"{module} does not parse its arguments")


@contextlib.contextmanager
def _parsing(function: Callable[..., Any]) -> Iterator[None]:
    """Lets all parsers call a function instead of parsing."""
    names = ("parse_args", "parse_known_args", "parse_intermixed_args")
    before = {name: getattr(argparse.ArgumentParser, name) for name in names}
    try:
        for name in names:
            setattr(argparse.ArgumentParser, name, function)
        yield
    finally:
        for name, method in before.items():
            setattr(argparse.ArgumentParser, name, method)


def whole(
    parsers: Mapping[str, argparse.ArgumentParser | None], summaries: Mapping[str, str]
) -> argparse.ArgumentParser:
    """Returns one parser of the whole command.

    Args:
        parsers: parser by subcommand; None for one without known arguments.
        summaries: description by subcommand.
    """
    parser = argparse.ArgumentParser(prog="clinometer")
    subcommands = parser.add_subparsers()
    for name, found in parsers.items():
        subcommands.add_parser(
            name,
            help=summaries[name],
            parents=[] if found is None else [found],
            add_help=found is None,
        )
    return parser


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yields the arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subcommand in action.choices.values():
                yield from actions(subcommand)
