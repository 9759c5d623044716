"""Loads a file of claims, and checks that it is the one that the runs were made for."""

from collections.abc import Sequence
import dataclasses
import hashlib
import types

from clinometer.data import paths
from clinometer.data.errors import DataError
from clinometer.tools.inference import outcomes
from clinometer.tools.report import records
from clinometer.tools.study.claims import claim as claim_lib
from clinometer.tools.study.claims import errors
from clinometer.train.run import recorded_config

FILE_NAME = "claims.py"  # In the folder of the study, a copy.


@dataclasses.dataclass(frozen=True)
class Source:
    """The text of a file of claims, which was not run yet.

    Attributes:
        path: of the file.
        text: its bytes.
        sha256: hash of them.
    """

    path: paths.AnyPath
    text: bytes
    sha256: str


@dataclasses.dataclass(frozen=True)
class ClaimsFile:
    """A file of claims.

    Attributes:
        path: of the file.
        sha256: hash of its bytes.
        claims: what `get_claims` returned.
        margin: its `MARGIN_NATS`, the largest difference that would not matter; None if
            it has none.
    """

    path: paths.AnyPath
    sha256: str
    claims: tuple[claim_lib.Claim, ...]
    margin: float | None


def read(path: paths.PathLike) -> Source:
    """Reads a file of claims without running it.

    Args:
        path: a Python file.

    Raises:
        ClaimsError: the file cannot be read.
    """
    try:
        path = paths.parse(path)
    except DataError as error:
        raise errors.ClaimsError(str(error)) from error
    if path.suffix != ".py":
        raise errors.ClaimsError(f"{path}: is not a Python file")
    try:
        text = paths.read_bytes(path)
    except OSError as error:
        raise errors.ClaimsError(f"{path}: {error.strerror or error}") from error
    return Source(path, text, hashlib.sha256(text).hexdigest())


def run(source: Source) -> ClaimsFile:
    """Runs a file of claims, which is Python code.

    Args:
        source: a file with a function `get_claims`, which returns a sequence of claims
            with distinct names.

    Raises:
        ClaimsError: the file cannot be run, or returns something else.
    """
    path = source.path
    module = types.ModuleType("clinometer_claims")
    module.__file__ = str(path)
    try:
        # The bytes that were hashed, not those that the file may have by now.
        code = compile(source.text, str(path), "exec", dont_inherit=True)
        exec(code, vars(module))
        if not callable(getattr(module, "get_claims", None)):
            raise errors.ClaimsError(
                "has no function get_claims; accepted: one that returns a list of Claim"
            )
        claims = tuple(module.get_claims())
        margin = getattr(module, "MARGIN_NATS", None)
        if margin is not None:
            outcomes.check_margin(margin)
    except errors.ClaimsError as error:
        raise errors.ClaimsError(f"{path}: {error}") from error
    except (Exception, SystemExit) as error:
        raise errors.ClaimsError(f"{path}: {_in_one_line(error)}") from error
    names = []
    for claim in claims:
        if not isinstance(claim, claim_lib.Claim):
            raise errors.ClaimsError(
                f"{path}: get_claims returned {type(claim).__name__}; accepted: Claim"
            )
        if claim.name in names:
            raise errors.ClaimsError(f"{path}: two claims have the name {claim.name!r}")
        names.append(claim.name)
    return ClaimsFile(path, source.sha256, claims, margin)


def check_runs(runs: Sequence[records.Run], claims: Source | None) -> bool:
    """Checks that final runs were made for these claims and no others.

    Args:
        runs: runs of a study; pilot and sweep runs hold no claims and are not checked.
        claims: the claims of the report, or None if it has none.

    Returns:
        Whether a final run was made for the claims, so that they may be run.

    Raises:
        ClaimsError: a final run has the hash of other claims; the message names it.
    """
    expected = None if claims is None else claims.sha256
    final = [r for r in runs if r.record.study.role == recorded_config.FINAL]
    for run in final:
        study = run.record.study
        if study.claims != expected:
            there = "no claims" if study.claims is None else _short(study.claims)
            if claims is None:
                here = "and this folder has no claims"
            else:
                here = f"and {claims.path} is {_short(claims.sha256)}"
            raise errors.ClaimsError(
                f"{run.name}: was made for {there} (study.claims), {here}; claims are "
                "written before the runs and decided by their own runs only"
            )
    return claims is not None and bool(final)


def _short(sha256: str) -> str:
    return f"claims {sha256[:12]}"


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
