"""Tests the verdicts of a study's folder: passes, diverged runs, wrong claims."""

import json
import shutil

import pytest
from scipy import stats

from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.claims import example_claims
from clinometer.tools.report import records
from clinometer.tools.report import rows as rows_lib
from clinometer.tools.study.claims import errors
from clinometer.tools.study.claims import file
from clinometer.tools.study.claims import verdicts


@pytest.fixture
def study(tmp_path):
    """Returns a study of two passes, of which the second has one run left."""
    shutil.copy(example_claims.PATH, tmp_path / "claims.py")
    for size, seed, number in (("pico", 0, 1), ("milli", 0, 1), ("pico", 1, 2)):
        _write(tmp_path, size, seed, number)
    passes = {"transformer-pico-s0": 1, "transformer-milli-s0": 1}
    passes |= {"transformer-pico-s1": 2, "transformer-milli-s1": 2}
    (tmp_path / "study.json").write_text(json.dumps({"passes": passes}))
    return tmp_path


def _write(folder, size, seed, number, **changes):
    record = synthetic_study.record(size, seed, **changes)
    record["config"]["study"] = {
        "role": "final",
        "pass_number": number,
        "claims": file.read(folder / "claims.py").sha256,
    }
    name = f"transformer-{size}-s{seed}"
    shutil.rmtree(folder / "runs" / name, ignore_errors=True)
    synthetic_study.write_run(folder / "runs" / name, record)


def _judgement(folder):
    return verdicts.of_folder(
        folder, records.load_runs(folder), synthetic_study.rows(folder)
    )


def _judged(folder):
    return {judged.claim.name: judged for judged in _judgement(folder).claims}


def test_only_complete_passes_are_used(study):
    judged = _judged(study)
    assert judged["gain"].verdict.outcome == "supported"
    losses = [
        synthetic_study.record(size)["metrics"]["validation/loss"]
        for size in ("pico", "milli")
    ]
    assert judged["gain"].verdict.numbers == {
        "gain": pytest.approx(losses[0] - losses[1])
    }
    # The second run of pico belongs to a pass that is not complete.
    assert judged["replicated"].verdict.outcome == "undecided"
    _write(study, "milli", 1, 2)
    assert _judged(study)["replicated"].verdict.outcome == "supported"


def test_a_diverged_run_leaves_its_cell_s_claims_undecided(study):
    _write(study, "milli", 0, 1, status="failed", error="DivergedError: step 3: nan")
    judged = _judged(study)["gain"]
    assert judged.verdict.outcome == "undecided"
    assert judged.told.startswith("undecided: vanilla gains with size (")
    assert "transformer-milli-s0 diverged" in judged.told


def test_other_claims_are_refused(study):
    text = (study / "claims.py").read_text()
    (study / "claims.py").write_text(f"{text}\n# Changed afterwards.\n")
    with pytest.raises(errors.ClaimsError, match="was made for claims"):
        _judged(study)


def test_a_study_without_claims_has_no_verdicts(tmp_path):
    synthetic_study.write_study(tmp_path)
    assert _judgement(tmp_path) == verdicts.Judgement()


_TOUCHES = """
import pathlib
pathlib.Path({mark!r}).touch()
def get_claims():
    return []
"""


@pytest.mark.parametrize("role", ["final", "pilot", None])
def test_code_that_no_final_run_was_made_for_is_not_run(tmp_path, role):
    mark = tmp_path / "touched"
    (tmp_path / "claims.py").write_text(_TOUCHES.format(mark=str(mark)))
    record = synthetic_study.record()
    record["config"]["study"] = {"role": role, "claims": "0" * 64}
    synthetic_study.write_run(tmp_path / "runs" / "a", record)
    if role == "final":
        with pytest.raises(errors.ClaimsError, match="a: was made for claims 000000"):
            _judgement(tmp_path)
    else:
        (warning,) = _judgement(tmp_path).warnings
        assert warning == "claims.py is not used: no final run was made for it"
    assert not mark.exists()
    # Mutation: with its hash in a final run's record it is run.
    sha256 = file.read(tmp_path / "claims.py").sha256
    record["config"]["study"] = {"role": "final", "claims": sha256}
    shutil.rmtree(tmp_path / "runs")
    synthetic_study.write_run(tmp_path / "runs" / "a", record)
    assert _judgement(tmp_path) == verdicts.Judgement()
    assert mark.exists()


_INFERS = """
from clinometer.tools.inference import contrasts
from clinometer.tools.inference import linear_model
from clinometer.tools.study.claims import claim
MARGIN_NATS = 0.027
def gains(runs):
    fitted = linear_model.fit(*runs.design())
    row = contrasts.own_gain(fitted.design, "transformer")
    found = contrasts.estimate(fitted, row[None])
    low, high = (float(end[0]) for end in found.interval())
    return claim.Verdict(claim.Outcome.SUPPORTED, {"low": low, "high": high})
def get_claims():
    return [claim.Claim("gain", "vanilla gains", gains)]
"""


def test_a_claim_reaches_the_inference(study):
    (study / "claims.py").write_text(_INFERS)
    for size, seed, number in (("pico", 0, 1), ("milli", 0, 1), ("pico", 1, 2)):
        _write(study, size, seed, number)
    # The first pass has no replicates.
    undecided = _judged(study)["gain"].verdict
    assert undecided.outcome == "undecided" and "no replicates" in undecided.reason
    _write(study, "milli", 1, 2)
    losses = [
        synthetic_study.record(size, seed)["metrics"]["validation/loss"]
        for size in ("pico", "milli")
        for seed in (0, 1)
    ]
    gain = (losses[0] + losses[1] - losses[2] - losses[3]) / 2
    sd = abs(losses[0] - losses[1]) / 2**0.5  # The same for both sizes.
    reach = stats.t.ppf(0.975, 2) * sd
    judgement = _judgement(study)
    assert judgement.claims[0].verdict.numbers == {
        "low": pytest.approx(gain - reach),
        "high": pytest.approx(gain + reach),
    }
    assert judgement.margin == 0.027


_READS_A_PART = """
from clinometer.tools.study.claims import claim
def loss(runs):
    (loss,) = runs.part("long", ("train_steps",)).column("validation_loss_nats")
    numbers = {"loss": loss, "runs of the study": len(runs)}
    return claim.Verdict(claim.Outcome.SUPPORTED, numbers)
def get_claims():
    return [claim.Claim("loss", "a longer run", loss)]
"""


def test_a_claim_reads_the_parts_of_a_study(study):
    (study / "claims.py").write_text(_READS_A_PART)
    for size, seed, number in (("pico", 0, 1), ("milli", 0, 1), ("pico", 1, 2)):
        _write(study, size, seed, number)
    verdict = _judged(study)["loss"].verdict
    assert verdict.reason == "the part long has no complete pass"
    part = study / "parts" / "long"
    part.mkdir(parents=True)
    shutil.copy(study / "claims.py", part)
    changes = {"config__train_steps": 900, "metrics__validation/loss": 3.25}
    _write(part, "pico", 0, 1, **changes)
    _write(part, "pico", 1, 2, **changes)
    passes = {"transformer-pico-s0": 1, "transformer-pico-s1": 2}
    passes["transformer-milli-s1"] = 2
    (part / "study.json").write_text(json.dumps({"passes": passes}))
    # Only its complete pass counts, and the study's runs stay apart.
    verdict = _judged(study)["loss"].verdict
    assert verdict.numbers == {"loss": 3.25, "runs of the study": 2}
    # Alone, the part decides nothing.
    judgement = _judgement(part)
    assert not judgement.claims
    assert "this is a part of a study" in judgement.warnings[0]
    # It differs in the number of steps only, and must.
    _write(part, "pico", 0, 1, **changes, config__data={"noise_density": 0.3})
    assert "in noise_density" in _judged(study)["loss"].verdict.reason
    _write(part, "pico", 0, 1)
    assert "do not differ from the study's in" in _judged(study)["loss"].verdict.reason
    # Its final runs are made for the same claims.
    (part / "claims.py").write_text(f"{_READS_A_PART}# Changed.")
    _write(part, "pico", 0, 1, **changes)
    with pytest.raises(errors.ClaimsError, match="was made for claims"):
        _judged(study)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("runs.column('speed')", "the claim failed: unknown metric 'speed'"),
        ("1 / 0", "the claim failed: ZeroDivisionError"),
        ("exit('two\\nlines')", "the claim failed: SystemExit: two lines"),
        ("None", "the claim failed: returned NoneType; accepted: Verdict"),
        ("claim.Verdict('supported')", "outcome: got str; accepted: an Outcome"),
        ("claim.Verdict(claim.Outcome.SUPPORTED, [1])", "numbers: got list; acc"),
        ("claim.Verdict(claim.Outcome.SUPPORTED, {'x': '1'})", "numbers['x']: got str"),
        ("claim.Verdict(claim.Outcome.SUPPORTED, {1: 1})", "numbers: got int; acc"),
        ("claim.Verdict(claim.Outcome.SUPPORTED, {}, None)", "reason: got NoneType"),
    ],
)
def test_a_claim_that_is_wrong_is_undecided_and_says_so(tmp_path, study, body, words):
    path = tmp_path / "mine.py"
    path.write_text(
        "from clinometer.tools.study.claims import claim\n"
        "def get_claims():\n"
        f"    wrong = claim.Claim('a', 'b', lambda runs: {body})\n"
        "    fine = claim.Verdict(claim.Outcome.SUPPORTED)\n"
        "    return [wrong, claim.Claim('c', 'd', lambda runs: fine)]\n"
    )
    runs = records.load_runs(study)
    used = verdicts.observed.Runs(
        [verdicts.observe(run, rows_lib.make_row(run)) for run in runs]
    )
    wrong, fine = verdicts.judge(file.run(file.read(path)), used)
    assert wrong.verdict.outcome == "undecided" and words in wrong.verdict.reason
    assert "\n" not in wrong.told and fine.supported


def test_no_claim_is_judged_where_no_pass_is_known(study):
    for size, seed, number in (("pico", 0, 1), ("milli", 0, 1), ("pico", 1, 2)):
        _write(study, size, seed, number)
    (study / "study.json").unlink()
    for judged in _judgement(study).claims:
        assert judged.verdict.outcome == "undecided"
        assert "no pass of study.json is complete" in judged.verdict.reason
