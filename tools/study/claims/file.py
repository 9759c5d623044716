"""Loads a file of claims, and checks that it is the one that the runs were made for."""

from collections.abc import Sequence
import dataclasses
import hashlib
import importlib.util
import os
import pathlib
import sys

from clinometer.tools.report import records
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import errors
from clinometer.train.run import recorded_config

FILE_NAME = "claims.py"  # In the folder of the study, a copy.


@dataclasses.dataclass(frozen=True)
class ClaimsFile:
    """A file of claims.

    Attributes:
        path: of the file.
        sha256: hash of its bytes.
        claims: what `get_claims` returned.
    """

    path: pathlib.Path
    sha256: str
    claims: tuple[claim_lib.Claim, ...]


def load(path: str | os.PathLike[str]) -> ClaimsFile:
    """Loads a file of claims.

    Args:
        path: a Python file with a function `get_claims`, which returns a sequence of
            claims with distinct names.

    Raises:
        ClaimsError: the file cannot be read or run, or returns something else.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_bytes()
    except OSError as error:
        raise errors.ClaimsError(f"{path}: {error.strerror or error}") from error
    spec = importlib.util.spec_from_file_location("clinometer_claims", path)
    if spec is None or spec.loader is None or path.suffix != ".py":
        raise errors.ClaimsError(f"{path}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
        claims = tuple(module.get_claims())
    except Exception as error:
        raise errors.ClaimsError(f"{path}: {_in_one_line(error)}") from error
    finally:
        sys.dont_write_bytecode = writes
    names = []
    for claim in claims:
        if not isinstance(claim, claim_lib.Claim):
            raise errors.ClaimsError(
                f"{path}: get_claims returned {type(claim).__name__}; accepted: Claim"
            )
        if claim.name in names:
            raise errors.ClaimsError(f"{path}: two claims have the name {claim.name!r}")
        names.append(claim.name)
    return ClaimsFile(path, hashlib.sha256(text).hexdigest(), claims)


def check_runs(runs: Sequence[records.Run], claims: ClaimsFile | None) -> None:
    """Checks that final runs were made for these claims and no others.

    Args:
        runs: runs of a study; pilot and sweep runs hold no claims and are not checked.
        claims: the claims of the report, or None if it has none.

    Raises:
        ClaimsError: a final run has the hash of other claims; the message names it.
    """
    expected = None if claims is None else claims.sha256
    for run in runs:
        study = run.record.study
        if study.role == recorded_config.FINAL and study.claims != expected:
            there = "no claims" if study.claims is None else _short(study.claims)
            if claims is None:
                here = "and this folder has no claims"
            else:
                here = f"and {claims.path} is {_short(claims.sha256)}"
            raise errors.ClaimsError(
                f"{run.name}: was made for {there} (study.claims), {here}; claims are "
                "written before the runs and decided by their own runs only"
            )


def _short(sha256: str) -> str:
    return f"claims {sha256[:12]}"


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
