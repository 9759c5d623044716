"""Runs code in a new process, which may have other devices or settings."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Ends a process that hangs; on a busy machine, some take several minutes.
_TIMEOUT = 1200.0


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code; environment variables set to "" are removed."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environ(**environment),
        timeout=_TIMEOUT,
    )


def environ(**environment: str) -> dict[str, str]:
    """Returns the environment of such a process; variables set to "" are removed."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tools/imports"),
    } | environment
    return {name: value for name, value in environment.items() if value}


def printed(finished: subprocess.CompletedProcess[str]) -> Any:
    """Returns the JSON on the last line that the process printed."""
    assert finished.returncode == 0, finished.stderr[-3000:]
    return json.loads(finished.stdout.splitlines()[-1])


def printed_on(isa: str, code: str) -> Any:
    """Returns what code prints with the kernels of an instruction set, or skips."""
    finished = run(code, CLINOMETER_CPU_ISA=isa)
    if "processor runs no more than" in finished.stderr:
        pytest.skip(f"this machine's processor has no {isa}")
    result = printed(finished)
    assert result["isa"] == isa
    return result


def printed_on_many_cores_and_one(code: str) -> tuple[Any, Any]:
    """Returns what code prints with all cores and with one, or skips."""
    cores = os.sched_getaffinity(0)
    if len(cores) < 2:
        pytest.skip("one core only: there is nothing to compare with")
    # XLA has as many threads as the process may use cores.
    one_core = f"import os; os.sched_setaffinity(0, [{min(cores)}])\n"
    return tuple(printed(run(x + code, XLA_FLAGS="")) for x in ("", one_core))
