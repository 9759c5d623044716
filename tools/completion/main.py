"""Implements `clinometer completion`: prints a script for a shell."""

import argparse
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Protocol

import shtab

from clinometer.kernels.options import ranges
from clinometer.tools.completion import parsers
from clinometer.train import exit_codes

_NAME = "completion"
_SHELLS = ("bash", "zsh", "fish", "tcsh")
_DESCRIPTION = """\
Prints a script with which a shell completes subcommands, options and paths. It is made
of the subcommands whose packages are installed. Examples:

  clinometer completion bash > ~/.local/share/bash-completion/completions/clinometer
  clinometer completion zsh > ~/.zfunc/_clinometer    # a folder of fpath
"""


class Subcommand(Protocol):
    """A subcommand: its module, and what `--help` says about it."""

    module: str
    summary: str


def main(argv: Sequence[str], subcommands: Mapping[str, Subcommand]) -> int:
    """Runs the command.

    Args:
        argv: the command-line arguments.
        subcommands: all subcommands, this one included.

    Returns:
        The exit code.
    """
    arguments = _parser().parse_args(argv)
    found = {
        name: _parser() if name == _NAME else parsers.of_command(subcommand.module)
        for name, subcommand in subcommands.items()
    }
    whole = parsers.whole(found, {n: s.summary for n, s in subcommands.items()})
    for action in parsers.actions(whole):
        takes_text = action.nargs != 0 and action.choices is None
        if takes_text and not isinstance(action.type, ranges.Whole | ranges.Real):
            action.complete = shtab.FILE
    print(shtab.complete(whole, shell=arguments.shell))
    return exit_codes.DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer completion",
        description=_DESCRIPTION,
        epilog=exit_codes.described(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", metavar="SHELL", choices=_SHELLS, help="%(choices)s")
    return parser
