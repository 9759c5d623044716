"""Tests the loading of files of claims, and the check of their hash."""

import hashlib
import pathlib

import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.claims import example_claims
from clinometer.tools.report import records
from clinometer.tools.study.claims import errors
from clinometer.tools.study.claims import file

EXAMPLE = pathlib.Path(example_claims.PATH)
_HEAD = "from clinometer.tools.study.claims import claim\ndef get_claims():\n    "


def test_a_file_of_claims(tmp_path):
    copy = tmp_path / "claims.py"
    copy.write_bytes(EXAMPLE.read_bytes())
    loaded = file.run(file.read(copy))
    assert [claim.name for claim in loaded.claims] == ["gain", "replicated"]
    assert loaded.sha256 == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert [path.name for path in tmp_path.iterdir()] == ["claims.py"]
    assert loaded.margin is None


def test_a_file_may_commit_a_margin(tmp_path):
    path = tmp_path / "claims.py"
    path.write_text("MARGIN_NATS = 0.027\ndef get_claims():\n    return []\n")
    assert file.run(file.read(path)).margin == 0.027


def test_what_was_hashed_is_run(tmp_path):
    path = tmp_path / "claims.py"
    path.write_text("def get_claims():\n    return []\n")
    source = file.read(path)
    path.write_text("1 / 0\n")
    assert file.run(source).claims == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = (", "SyntaxError"),
        ("", "has no function get_claims; accepted: one that"),
        ("get_claims = 3", "has no function get_claims; accepted: one that"),
        ("exit(3)", "SystemExit: 3"),
        (f"{_HEAD}return [claim.Claim(None, '', len)]", "name: got NoneType; accepted"),
        (f"{_HEAD}return [claim.Claim('a', '', 3)]", "judge: got int; accepted"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        (f"{_HEAD}return 3", "TypeError"),
        (f"{_HEAD}return [3]", "returned int; accepted: Claim"),
        (f"MARGIN_NATS = -1\n{_HEAD}return []", "margin is -1; accepted: a finite"),
        (f"MARGIN_NATS = '1'\n{_HEAD}return []", "margin is 1; accepted: a finite"),
        (f"MARGIN_NATS = True\n{_HEAD}return []", "margin is True; accepted: a fin"),
        (f"{_HEAD}return [claim.Claim('a', '', len)] * 2", "two claims have the name"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, words):
    path = tmp_path / "claims.py"
    path.write_text(text)
    with pytest.raises(errors.ClaimsError, match=words) as caught:
        file.run(file.read(path))
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_a_file_that_is_none_is_named(tmp_path):
    with pytest.raises(errors.ClaimsError, match="nowhere.py: No such file"):
        file.read(tmp_path / "nowhere.py")
    (tmp_path / "claims.txt").write_text("")
    with pytest.raises(errors.ClaimsError, match="is not a Python file"):
        file.read(tmp_path / "claims.txt")


def _runs(tmp_path, **study):
    record = synthetic_study.record()
    record["config"]["study"] = study
    synthetic_study.write_run(tmp_path / "runs" / "transformer-pico-s0", record)
    return records.load_runs(tmp_path)


def test_final_runs_belong_to_their_own_claims(tmp_path):
    loaded = file.read(EXAMPLE)
    runs = _runs(tmp_path, role="final", claims=loaded.sha256)
    assert file.check_runs(runs, loaded)
    with pytest.raises(errors.ClaimsError, match="this folder has no claims"):
        file.check_runs(runs, None)


@pytest.mark.parametrize("there", ["another", None])
def test_other_claims_are_refused_by_the_run_s_name(tmp_path, there):
    runs = _runs(tmp_path, role="final", claims=there)
    with pytest.raises(errors.ClaimsError, match="transformer-pico-s0: was made for"):
        file.check_runs(runs, file.read(EXAMPLE))


@pytest.mark.parametrize("role", ["pilot", "sweep", None])
def test_pilots_and_sweeps_hold_no_claims(tmp_path, role):
    assert not file.check_runs(_runs(tmp_path, role=role), file.read(EXAMPLE))
