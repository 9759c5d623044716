"""Runs code in a new process, which may have other devices or settings."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

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
