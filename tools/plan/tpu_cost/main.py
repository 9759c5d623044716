"""Implements `clinometer tpu-cost`: costs of the kernels from the TPU compiler."""

import argparse
from collections.abc import Iterator
from collections.abc import Sequence
import concurrent.futures
import importlib.metadata
import pathlib
import sys
import time
from typing import Any

from clinometer.kernels import terminal
from clinometer.kernels.bench import environment
from clinometer.kernels.bench import records as records_lib
from clinometer.kernels.options import outputs
from clinometer.kernels.options import ranges
from clinometer.kernels.tpu import chips
from clinometer.tools.plan import compiler as compiler_lib
from clinometer.tools.plan import limit_options
from clinometer.tools.plan import topologies
from clinometer.tools.plan.tpu_cost import case as case_lib
from clinometer.tools.plan.tpu_cost import cases as cases_lib
from clinometer.tools.plan.tpu_cost import compare
from clinometer.tools.plan.tpu_cost import page
from clinometer.tools.plan.tpu_cost import report
from clinometer.tools.plan.tpu_cost import table
from clinometer.train import exit_codes

_DESCRIPTION = """\
Compiles the kernels, and equivalent plain jnp implementations, for TPUs without needing
a TPU. Reports whether they compile, and the compiler's numbers: cycles, bundles (VLIW
instructions), memory, register spills, slot utilization and the roofline.

Each row is a program compiled by `jax.jit`; the pass "forward+backward" returns output
and gradients. "cycles" are estimates of the compiler, not times on a TPU. They come
from its simulator (status "simulated") or from the bundles of its schedule, which leave
out stalls (status "bundles only"), and are at least what HBM needs for the bytes that
are moved. "part" is the fraction of the roofline that is reached. "around" are the
cycles of what XLA adds around a Pallas call, such as layout copies. "ratio" is the
cycles of the best jnp implementation divided by those of the row.
"""

_BROKEN = 'a Pallas kernel that "auto" chooses does not compile, or needs more cycles'
_EPILOG = f"""\
examples:
  clinometer tpu-cost --op switch_route --topology v5e
  clinometer tpu-cost --topology v5e --topology v6e --form ours --page cost.html
  clinometer tpu-cost --op relative_attention --topology v5e --form ours --peers
  clinometer tpu-cost --op light_conv --pass forward --dtype float32 --json
  clinometer tpu-cost --topology v5e --form ours --compare old.json

If a program does not compile, its record has the reason.

{exit_codes.described({exit_codes.FAILED: _BROKEN})}
"""

_TABLE = f"{cases_lib.__name__}:cases"
_FORMS = ("ours", "xla", "both")


def main(argv: Sequence[str]) -> int:
    """Runs the command with the arguments `argv`; returns the exit code.

    Raises:
        ModuleNotFoundError: libtpu is not installed.
    """
    args = _parser().parse_args(argv)
    try:
        chosen = _chosen(args.op, args.passes)
        old = compare.read(args.compare) if args.compare else None
        targets = [topologies.resolve(x) for x in args.topology or topologies.DEFAULT]
        for option in ("out", "page", "markdown"):
            path = getattr(args, option)
            if path is not None:
                outputs.check_file(f"--{option}", path)
    except ValueError as error:
        print(f"clinometer tpu-cost: {error}", file=sys.stderr)
        return exit_codes.USAGE
    versions = {
        "libtpu_version": compiler_lib.libtpu_version(),
        "jax_version": importlib.metadata.version("jax"),
        **environment.git_revision(pathlib.Path(__file__).resolve().parents[3]),
    }
    work = [
        (case, chip, topology, names)
        for case in chosen
        for chip, topology in targets
        if (names := _implementations(case, args.form, args.peers))
    ]
    line = terminal.Line(seconds=30)
    line.note(
        f"libtpu {versions['libtpu_version']}, jax {versions['jax_version']}; "
        f"{len(work)} pairs of kernel and topology"
    )
    found: list[dict[str, Any]] = []
    with compiler_lib.Compiler(_TABLE, args.timeout) as compiler:
        for records in _measured(compiler, work, args.dtype, args.jobs, line):
            records = [record | versions for record in records]
            found += records
            if args.out:  # After each, so that an interruption loses nothing.
                outputs.write_text(args.out, records_lib.dumps(found))
            if args.page:
                outputs.write_text(args.page, page.draw(found))
            if args.markdown:
                lines = "\n".join(table.markdown(found)) + "\n"
                outputs.write_text(args.markdown, lines)
            out = sys.stderr if args.json else sys.stdout
            print("\n".join(table.text(records, out)) + "\n", file=out, flush=True)
    if args.json:
        print(records_lib.dumps(found), end="")
    failed = any(_broken(record) for record in found)
    if old is not None:
        out = sys.stderr if args.json else sys.stdout
        try:
            told, risen = compare.text(old, found, args.tolerance / 100, out)
        except ValueError as error:
            told, risen = f"clinometer tpu-cost: --compare: {error}", 1
        print(told, file=out)
        failed |= risen > 0
    return exit_codes.FAILED if failed else exit_codes.DONE


def _measured(
    compiler: compiler_lib.Compiler,
    work: Sequence[
        tuple[case_lib.CostCase | case_lib.TrainStepCase, chips.Chip, str, list[str]]
    ],
    dtype: str,
    jobs: int,
    line: terminal.Line,
) -> Iterator[list[dict[str, Any]]]:
    """Yields the records of each case and topology in order, while others compile."""
    started = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        waiting = {
            pool.submit(
                report.measure, compiler, case, chip, topology, dtype, names
            ): f"{' '.join(case.key)} for {topology}"
            for case, chip, topology, names in work
        }
        try:
            for done, (future, what) in enumerate(waiting.items()):
                elapsed = time.monotonic() - started
                line.say(f"{done} of {len(waiting)}, {elapsed:.0f} s: {what}")
                records = future.result()
                line.clear()
                yield records
        except BaseException:
            compiler.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            line.clear()
            raise


def _broken(record: dict[str, Any]) -> bool:
    """Returns whether "auto" chooses a kernel that the compiler rejects."""
    taken = record["implementation"] == case_lib.OURS == record["auto"]
    return taken and not record["compiled"]


def _chosen(
    ops: Sequence[str] | None, passes: Sequence[str] | None
) -> list[case_lib.CostCase | case_lib.TrainStepCase]:
    listed = cases_lib.cases()
    known = list(dict.fromkeys(case.op for case in listed))
    unknown = [name for name in ops or () if name not in known]
    if unknown:
        raise ValueError(f"--op: got {unknown[0]!r}; accepted: {', '.join(known)}")
    return [
        case
        for case in listed
        if case.op in (ops or known) and case.pass_name in (passes or (case.pass_name,))
    ]


def _implementations(
    case: case_lib.CostCase | case_lib.TrainStepCase, form: str, peers: bool
) -> list[str]:
    if peers and not case.peers:
        return []
    wanted = {"ours": (True,), "xla": (False,), "both": (True, False)}[form]
    names = [x for x in case.implementations() if (x == case_lib.OURS) in wanted]
    return [*names, *case.peers] if peers else names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clinometer tpu-cost",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--op",
        metavar="NAME",
        action="append",
        help="an operation, e.g. light_conv; may be repeated (default: all)",
    )
    parser.add_argument(
        "--pass",
        dest="passes",
        action="append",
        choices=("forward", "backward", case_lib.STEP),
        help="a pass; may be repeated (default: all)",
    )
    parser.add_argument(
        "--topology",
        metavar="NAME",
        action="append",
        help=f"a chip ({', '.join(chips.CHIPS)}) or a topology such as v5e:4x4; may be "
        f"repeated (default: {', '.join(topologies.DEFAULT)})",
    )
    parser.add_argument(
        "--form",
        choices=_FORMS,
        default="both",
        help="compile the Pallas kernels, the plain jnp implementations or both, which "
        "ratios need (default: %(default)s)",
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also compile public kernels for the same work: JAX's flash and splash "
        "attention, megablox, jax.nn; only operations that have such peers",
    )
    parser.add_argument(
        "--dtype",
        choices=("bfloat16", "float32"),
        default="bfloat16",
        help="dtype of the operands (default: %(default)s)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print the records as JSON, and the tables to standard error",
    )
    parser.add_argument(
        "--out", metavar="FILE", help="write the records to a file as JSON"
    )
    parser.add_argument(
        "--page", metavar="FILE.html", help="write a page with bar charts of the cycles"
    )
    parser.add_argument(
        "--markdown", metavar="FILE.md", help="write a Markdown table of all records"
    )
    parser.add_argument(
        "--compare",
        metavar="FILE",
        help="compare the cycles of our kernels with an earlier --out; exit with 1 if "
        "one needs more",
    )
    parser.add_argument(
        "--tolerance",
        metavar="PERCENT",
        type=ranges.Real(0),
        default=2.0,
        help="by how much cycles may rise with --compare (default: %(default)g)",
    )
    limit_options.add(
        parser,
        600,
        "time limit for compiling a program, and for simulating it; a program that "
        "exceeds it has no cycles",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
