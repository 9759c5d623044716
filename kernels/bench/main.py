"""`clinometer bench`: times the kernels against plain jnp on the user's machine."""

import argparse
from collections.abc import Sequence
import sys
from typing import Any

from clinometer.kernels import devices
from clinometer.kernels import terminal
from clinometer.kernels.bench import cases as cases_lib
from clinometer.kernels.bench import environment as environment_lib
from clinometer.kernels.bench import records as records_lib
from clinometer.kernels.bench import run_options
from clinometer.kernels.bench import runner
from clinometer.kernels.bench import timer
from clinometer.kernels.bench import torch_baselines
from clinometer.kernels.cpu import wrap
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges

_DESCRIPTION = """\
Times the kernels against plain jnp forms (and PyTorch's own operations, where torch is
installed), interleaved in one process. Before timing, each form's results (and its
gradients, for the pass "forward+backward") are checked against the reference.

"ratio" is the median time of the best jnp form of the same run over a form's own
median: above 1, it is faster than every jnp form measured. Times vary between machines
and over the day, so compare ratios. "temp" is the memory that the compiled program
allocates besides arguments and results. "matmul" and "copy" show what limits a kernel:
its FLOPs per second relative to XLA's own 1024 x 1024 matmul, and the time of a copy of
as many bytes relative to its own, in the same rounds. The default shapes take several
minutes.
"""

_EPILOG = """\
examples:
  clinometer bench --quick
  clinometer bench --op light_conv --op dynamic_conv --pass forward
  clinometer bench --out new.json --compare old.json
  clinometer bench --op relative_attention --implementation cpu --json
  clinometer report new.json    # a page with a figure of the ratios

exit codes: 0 success; 1 results disagree, or a ratio fell (--compare); 2 bad options
"""

# The values of train/exit_codes.py, which kernels must not import.
_DONE, _FAILED, _USAGE = 0, 1, 2


def main(argv: Sequence[str]) -> int:
    """Runs the benchmark; returns the exit code."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        chosen = _chosen(args)
        old = records_lib.read(args.compare) if args.compare else None
        names = _names(args.implementation, chosen)
        if args.out is not None:
            outputs.check_file("--out", args.out)
        devices.check()
        if "cpu" in names and wrap.unavailable():
            raise ValueError(
                f"--implementation cpu: {wrap.unavailable()}; to run without it, use "
                "--implementation reference"
            )
    except ValueError as error:
        return _fail(error, _USAGE)
    environment = environment_lib.describe()
    line = terminal.Line(seconds=5)
    line.note(_heading(environment, args.dtype))
    if not torch_baselines.is_installed():
        line.note("torch is not installed: skipping PyTorch's operations")
    found: list[dict[str, Any]] = []
    passes = [p for p in runner.PASSES if p in (args.passes or runner.PASSES)]
    try:
        for case in chosen:
            for pass_name in passes:
                records = runner.run_case(
                    case,
                    pass_name,
                    args.dtype,
                    names,
                    args.rounds,
                    environment,
                    line,
                )
                found += records
                line.clear()
                if args.out:  # After each pass, so that an interrupted run is kept.
                    outputs.write_text(args.out, records_lib.dumps(found))
                out = sys.stderr if args.json else sys.stdout
                print(records_lib.table(records, out) + "\n", file=out, flush=True)
    except timer.DisagreementError as error:
        line.clear()
        return _fail(error, _FAILED)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _fail(error, _FAILED)
    if args.json:
        print(records_lib.dumps(found), end="")
    try:
        if old is None:
            return _DONE
        out = sys.stderr if args.json else sys.stdout
        text, fallen = records_lib.compare(
            old, found, args.tolerance / 100, cases_lib.OURS, out
        )
    except (OSError, ValueError) as error:
        return _fail(error, _USAGE)
    print(text, file=out)
    return _FAILED if fallen else _DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--op",
        metavar="NAME",
        action="append",
        help=f"one of {', '.join(_ops())}; repeatable (default: all)",
    )
    parser.add_argument(
        "--pass",
        dest="passes",
        action="append",
        choices=runner.PASSES,
        help="the pass to time; repeatable (default: both)",
    )
    parser.add_argument(
        "--implementation",
        metavar="NAME",
        action="append",
        help="cpu, or the name of a baseline in the table; repeatable (default: all). "
        "The reference always runs, to check the results",
    )
    parser.add_argument(
        "--quick", action="store_true", help="use small shapes, to check that all works"
    )
    parser.add_argument(
        "--dtype",
        choices=tuple(runner.TOLERANCES),
        default="float32",
        help="dtype of the arguments (default: float32)",
    )
    run_options.add(parser)
    parser.add_argument(
        "--compare",
        metavar="OLD.json",
        help="compare ratios with an earlier run; exit with 1 if one of ours fell",
    )
    parser.add_argument(
        "--tolerance",
        type=ranges.Real(0, 100, without_most=True),
        default=25.0,
        metavar="PERCENT",
        help="by how much a ratio may fall with --compare (default: 25)",
    )
    return parser


def _ops() -> list[str]:
    listed = cases_lib.cases(quick=True, dtype="float32")
    return list(dict.fromkeys(case.op for case in listed))


def _chosen(args: argparse.Namespace) -> list[cases_lib.BenchmarkCase]:
    """Returns the cases of the requested operations."""
    unknown = [name for name in args.op or () if name not in _ops()]
    if unknown:
        raise ValueError(f"--op: got {unknown[0]!r}; accepted: {', '.join(_ops())}")
    listed = cases_lib.cases(quick=args.quick, dtype=args.dtype)
    return [case for case in listed if args.op is None or case.op in args.op]


def _names(
    asked: Sequence[str] | None, chosen: Sequence[cases_lib.BenchmarkCase]
) -> tuple[str, ...]:
    """Returns the names of the forms to measure."""
    known = [n for case in chosen for n in (*case.functions(), *case.torch)]
    known = list(dict.fromkeys(known))
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise ValueError(
            f"--implementation: got {unknown[0]!r}; accepted for these operations: "
            f"{', '.join(known)}"
        )
    names = tuple(asked or known)
    if torch_baselines.is_installed():
        return names
    absent = {name for case in chosen for name in case.torch}
    if asked and absent & set(asked):
        raise ValueError(
            f"--implementation {min(absent & set(asked))}: torch is not installed"
        )
    return tuple(name for name in names if name not in absent)


def _heading(environment: dict[str, Any], dtype: str) -> str:
    versions = ", ".join(f"{n} {v}" for n, v in environment["versions"].items())
    return (
        f"{environment['host_cpu']}; device {environment['device']}, "
        f"{environment['threads']} threads, kernels for {environment['isa']}; "
        f"{versions}\nresults must agree within {runner.TOLERANCES[dtype]:.0e} of the "
        f"largest value ({dtype})"
    )


def _fail(error: Exception, code: int) -> int:
    print(f"clinometer bench: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
