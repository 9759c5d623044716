"""The `clinometer` command, which dispatches to the modules of its subcommands.

A subcommand's module has `main(argv) -> exit code`. It is imported only when the
subcommand is called, so that `clinometer count` needs no training packages.
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
    """A subcommand of `clinometer`.

    Attributes:
        module: the module whose main(argv) takes the arguments after the subcommand.
        extra: the extra with the optional dependencies that it needs, if any.
        summary: its line in `clinometer --help`.
        only_prints: its output is its only result, so that a closed pipe (`| head`)
            is not an error.
        takes_all: its main takes the subcommands as a second argument.
    """

    module: str
    extra: str | None
    summary: str
    only_prints: bool = False
    takes_all: bool = False


SUBCOMMANDS = {
    "train": Subcommand(
        "clinometer.train.main", "train", "train one model from a config"
    ),
    "finetune": Subcommand(
        "clinometer.train.downstream.finetune",
        "train",
        "fine-tune a pretrained run on downstream tasks and score it",
    ),
    "evaluate": Subcommand(
        "clinometer.train.downstream.evaluation",
        "train",
        "score a run's checkpoints on downstream tasks",
    ),
    "fewshot": Subcommand(
        "clinometer.train.fewshot.main",
        "vision",
        "score a model of images by few-shot linear classification",
    ),
    "generate": Subcommand(
        "clinometer.train.generation.main",
        "train",
        "decode prompts with the model of a run",
        only_prints=True,
    ),
    "study": Subcommand(
        "clinometer.tools.study.main",
        "train",
        "train several architectures at several sizes and write a report",
    ),
    "report": Subcommand(
        "clinometer.tools.report.main",
        "train",
        "fit the scaling slopes of a study's runs and write the report",
        only_prints=True,
    ),
    "import-results": Subcommand(
        "clinometer.tools.results.main",
        "train",
        "bring in results that others measured, from a CSV file",
        only_prints=True,
    ),
    "laws": Subcommand(
        "clinometer.tools.laws.main",
        "train",
        "fit the papers' slopes and laws to runs, and judge their claims",
        only_prints=True,
    ),
    "recommend": Subcommand(
        "clinometer.tools.recommend.main",
        "train",
        "name the architectures that runs cannot tell from the best for a budget",
        only_prints=True,
    ),
    "verify": Subcommand(
        "clinometer.tools.verify.main",
        "train",
        "compare a run with the scores published for its model",
        only_prints=True,
    ),
    "status": Subcommand(
        "clinometer.tools.runs.status",
        "train",
        "show how far the runs of a study are, live with --watch",
        only_prints=True,
    ),
    "runs": Subcommand(
        "clinometer.tools.runs.main",
        "train",
        "list runs: configurations that differ, losses, speed",
        only_prints=True,
    ),
    "diagnose": Subcommand(
        "clinometer.tools.diagnose.main",
        "train",
        "say what went wrong in runs, and what first",
        only_prints=True,
    ),
    "compare": Subcommand(
        "clinometer.tools.compare.main",
        "train",
        "compare the validation losses of two trained models, row by row",
        only_prints=True,
    ),
    "convert": Subcommand(
        "clinometer.tools.released.convert",
        "convert",
        "turn a released checkpoint of Hugging Face into a run",
    ),
    "export": Subcommand(
        "clinometer.tools.released.export",
        "convert",
        "write a run as the files of a model on the Hugging Face hub",
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
        "time the kernels against plain jnp implementations on this machine",
    ),
    "bench-steps": Subcommand(
        "clinometer.tools.step_benchmark.main",
        "train",
        "time whole train steps on this machine",
    ),
    "plan": Subcommand(
        "clinometer.tools.plan.main",
        "tpu",
        "say whether models fit on TPUs or GPUs, and what training would cost",
        only_prints=True,
    ),
    "tpu-cost": Subcommand(
        "clinometer.tools.plan.tpu_cost.main",
        "tpu",
        "compile the kernels for TPUs, without a TPU, and report their cost",
    ),
    "tokenize": Subcommand(
        "clinometer.tools.tokenization.main",
        "train",
        "turn text into a vocabulary and a token store",
    ),
    "overlap": Subcommand(
        "clinometer.tools.overlap.main",
        "train",
        "find n-grams of evaluation sets in a pretraining corpus",
        only_prints=True,
    ),
    "fetch": Subcommand(
        "clinometer.tools.fetch.main",
        "train",
        "get the public releases of tasks and corpora",
    ),
    "completion": Subcommand(
        "clinometer.tools.completion.main",
        "completion",
        "print a script with which a shell completes the command",
        only_prints=True,
        takes_all=True,
    ),
    "version": Subcommand(
        "clinometer.tools.versions",
        None,
        "print the versions of clinometer and the packages it runs on",
        only_prints=True,
    ),
}

_MORE_CODES = {
    exit_codes.INTERRUPTED: "interrupted",
    exit_codes.READER_LEFT: "the output pipe was closed before the work was done",
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
            "`clinometer SUBCOMMAND --help` describes a subcommand.",
            "",
            exit_codes.described(_MORE_CODES),
            "Some subcommands have additional exit codes, listed in their --help.",
        ]
    )


def unknown_text(name: str) -> str:
    """Returns the error message for an unknown subcommand."""
    # Imported here because it loads JAX, which takes seconds.
    from clinometer.kernels.options.errors import nearest

    near = nearest(name, SUBCOMMANDS)
    hint = f"did you mean '{near}'?" if near else "see `clinometer --help`"
    return f"clinometer: no subcommand '{name}'; {hint}"


def missing_text(name: str, error: ModuleNotFoundError) -> str:
    """Returns the error message for a missing package that a subcommand needs."""
    extra = SUBCOMMANDS[name].extra
    package = f"clinometer[{extra}]" if extra else "clinometer"
    return (
        f"clinometer {name}: the Python package '{error.name}' is not installed; "
        f"pip install '{package}'"
    )


def _with_home(argument: str) -> str:
    """Expands the ~ of `--option=~/x`, which bash does not."""
    option, equals, value = argument.partition("=")
    return option + equals + os.path.expanduser(value) if equals else argument


def main(argv: list[str] | None = None) -> int:
    """Runs the subcommand named in `argv`.

    Args:
        argv: the arguments after the program's name; by default those of sys.argv.

    Returns:
        The exit code of the process.
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
            print(
                f"clinometer {name}: {argument}: cannot expand ~; there is no home "
                "directory",
                file=sys.stderr,
            )
            return exit_codes.USAGE
    try:
        streams.check_folder()
        more = (SUBCOMMANDS,) if SUBCOMMANDS[name].takes_all else ()
        code = importlib.import_module(SUBCOMMANDS[name].module).main(rest, *more)
    except ModuleNotFoundError as error:
        # If the module is our own, the installation is broken; don't suggest an extra.
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
    except SystemExit as stop:  # Raised by argparse for --help or bad options.
        if isinstance(stop.code, int):
            stop.code = _flushed(f"clinometer {name}", stop.code)
        raise
    except BrokenPipeError:
        # The output pipe was closed early (`clinometer count --all | head`).
        streams.abandon()
        if SUBCOMMANDS[name].only_prints:
            return exit_codes.DONE
        return exit_codes.READER_LEFT
    except streams.OutputLostError as error:
        return _unwritten(f"clinometer {name}", error)
    return _flushed(f"clinometer {name}", code)


def _flushed(command: str, code: int, text: str = "") -> int:
    """Writes `text` and flushes the output; returns the exit code."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # Not an error, since the work is done.
        streams.abandon()
    except streams.OutputLostError as error:
        return _unwritten(command, error)
    return code


def _unwritten(command: str, error: streams.OutputLostError) -> int:
    """Reports that standard output cannot be written to, as on a full disk."""
    streams.abandon()
    print(f"{command}: cannot write the output: {error}", file=sys.stderr)
    return exit_codes.FAILED


if __name__ == "__main__":
    sys.exit(main())
