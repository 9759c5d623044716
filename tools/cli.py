"""The `clinometer` command: a table of subcommands, each a thin door to a module.

A subcommand's module is imported only when it is called, so that
`clinometer count` needs no training packages. Each has `main(argv) -> exit code`.
"""

import argparse
import dataclasses
import importlib
import os
import sys

from clinometer.tools import streams
from clinometer.train import exit_codes


@dataclasses.dataclass(frozen=True)
class Subcommand:
    """One row of the command table."""

    module: str  # Its main(argv) takes what follows the subcommand's name.
    extra: str | None  # The optional dependencies that it needs, if any.
    summary: str  # One line for `clinometer --help`.
    only_prints: bool = False  # Nothing is left undone where nobody reads on.


SUBCOMMANDS = {
    "train": Subcommand(
        "clinometer.train.main", "train", "train one model from a config"
    ),
    "finetune": Subcommand(
        "clinometer.train.downstream.finetune",
        "study",
        "fine-tune a pretrained run on downstream tasks, and score it",
    ),
    "evaluate": Subcommand(
        "clinometer.train.downstream.evaluation",
        "study",
        "score a run's checkpoints on downstream tasks",
    ),
    "study": Subcommand(
        "clinometer.tools.study.main",
        "study",
        "train several architectures at several sizes, and report",
    ),
    "report": Subcommand(
        "clinometer.tools.report.main",
        "study",
        "fit and write the report of a study's runs",
        only_prints=True,
    ),
    "count": Subcommand(
        "clinometer.tools.count.main",
        None,
        "count a model's parameters and FLOPs without allocating it",
        only_prints=True,
    ),
    "bench": Subcommand(
        "clinometer.kernels.bench.main",
        None,
        "time the kernels against plain jnp forms on this machine",
    ),
    "tpu-cost": Subcommand(
        "clinometer.tools.plan.tpu_cost.main",
        "tpu",
        "compile the kernels for TPUs that are not here, and say what they cost",
    ),
    "tokenize": Subcommand(
        "clinometer.tools.tokenization.main",
        "train",
        "turn text into a vocabulary and a token store",
    ),
    "overlap": Subcommand(
        "clinometer.tools.overlap.main",
        "downstream",
        "find evaluation sets' n-grams in a pretraining corpus",
        only_prints=True,
    ),
    "version": Subcommand(
        "clinometer.tools.versions",
        None,
        "print the versions of clinometer and what it runs on",
        only_prints=True,
    ),
}

_MORE_CODES = {
    exit_codes.INTERRUPTED: "interrupted",
    exit_codes.READER_LEFT: "the reader of the output left before the work was done",
}


def help_text() -> str:
    """Returns what `clinometer --help` prints."""
    width = max(map(len, SUBCOMMANDS))
    rows = [f"  {name:<{width}}  {s.summary}" for name, s in SUBCOMMANDS.items()]
    return "\n".join(
        [
            "usage: clinometer SUBCOMMAND ...",
            "",
            "Clinometer measures how Transformer-like architectures scale.",
            "",
            *rows,
            "",
            "`clinometer SUBCOMMAND --help` explains one of them.",
            "",
            exit_codes.described(_MORE_CODES),
            "Some commands have more, see there.",
        ]
    )


def unknown_text(name: str) -> str:
    """Returns the error for a subcommand that does not exist."""
    # Imported late: it loads JAX, for which no other line here should wait.
    from clinometer.kernels.options.errors import nearest

    near = nearest(name, SUBCOMMANDS)
    hint = f"did you mean '{near}'?" if near else "see `clinometer --help`"
    return f"clinometer: no subcommand '{name}'; {hint}"


def missing_text(name: str, error: ModuleNotFoundError) -> str:
    """Returns the error for a package that a subcommand needs and nobody installed."""
    extra = SUBCOMMANDS[name].extra
    package = f"clinometer[{extra}]" if extra else "clinometer"
    return (
        f"clinometer {name}: the Python package '{error.name}' is not installed; "
        f"pip install '{package}'"
    )


def _with_home(argument: str) -> str:
    """Returns `--option=~/x` with the home folder in it, as bash leaves the ~ there."""
    option, equals, value = argument.partition("=")
    return option + equals + os.path.expanduser(value) if equals else argument


def main(argv: list[str] | None = None) -> int:
    """Runs the subcommand that `argv` names; returns the process's exit code.

    Args:
        argv: the arguments after the program's name; None means sys.argv's.
    """
    argv = sys.argv[1:] if argv is None else argv
    streams.prepare()
    if not argv or argv[0] in ("-h", "--help", "help"):
        code = exit_codes.DONE if argv else exit_codes.USAGE
        return _flushed("clinometer", code, help_text() + "\n")
    name, rest = argv[0], argv[1:]
    if name == "--version":
        name = "version"
    if name not in SUBCOMMANDS:
        print(unknown_text(name), file=sys.stderr)
        return exit_codes.USAGE
    rest = [_with_home(argument) for argument in rest]
    for argument in rest:
        if "=~/" in argument:
            print(f"clinometer {name}: {argument}: there is no home", file=sys.stderr)
            return exit_codes.USAGE
    try:
        streams.check_folder()
        code = importlib.import_module(SUBCOMMANDS[name].module).main(rest)
    except ModuleNotFoundError as error:
        # A missing module of our own is a broken installation, not a missing extra.
        if error.name is None or error.name.split(".")[0] == "clinometer":
            raise
        print(missing_text(name, error), file=sys.stderr)
        return exit_codes.FAILED
    except argparse.ArgumentTypeError as error:
        print(f"clinometer {name}: {error}", file=sys.stderr)
        return exit_codes.USAGE
    except KeyboardInterrupt:
        print(f"\nclinometer {name}: interrupted", file=sys.stderr)
        return exit_codes.INTERRUPTED
    except SystemExit as stop:  # argparse's: --help, or bad options.
        if isinstance(stop.code, int):
            stop.code = _flushed(f"clinometer {name}", stop.code)
        raise
    except BrokenPipeError:
        # The reader of our output left in the middle (`clinometer count --all | head`).
        streams.abandon()
        if SUBCOMMANDS[name].only_prints:
            return exit_codes.DONE
        return exit_codes.READER_LEFT
    except streams.OutputLostError as error:
        return _unwritten(f"clinometer {name}", error)
    return _flushed(f"clinometer {name}", code)


def _flushed(command: str, code: int, text: str = "") -> int:
    """Writes out a text and what is left of the output; returns the exit code."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # All was done: no error.
        streams.abandon()
    except streams.OutputLostError as error:
        return _unwritten(command, error)
    return code


def _unwritten(command: str, error: streams.OutputLostError) -> int:
    """Says that standard output takes no more, such as a full disk."""
    streams.abandon()
    print(f"{command}: cannot write the output: {error}", file=sys.stderr)
    return exit_codes.FAILED


if __name__ == "__main__":
    sys.exit(main())
