"""Tests of `clinometer diagnose`, on written runs and on the published records."""

import json

import pytest

from clinometer.tests.tools.diagnose import written
from clinometer.tools import cli
from clinometer.tools.diagnose import diagnosis


def diagnose(capsys, *arguments, code=0):
    assert cli.main(["diagnose", *map(str, arguments)]) == code
    return capsys.readouterr().out


@pytest.fixture
def broken(tmp_path):
    """The updates grow first, then the loss, and then it is NaN."""
    records = written.changed(
        written.healthy(900), 500, health__update_ratio__decoder=0.9
    )
    records = written.changed(
        records, 600, train__loss=lambda step: written.loss(step) + (step - 600) / 100
    )
    error = "DivergedError: step 911: the loss is nan; batch index 910"
    path = tmp_path / "all" / "broken"
    return written.write(path, records, status="failed", error=error)


def test_a_healthy_run_says_what_was_checked(tmp_path, capsys):
    path = written.write(tmp_path / "fine", written.healthy())
    text = diagnose(capsys, path, "--check")
    assert text.startswith(
        "fine: transformer-pico, finished at step 1000 of 1000: healthy\n"
    )
    checked, *rest = text.partition("checked, nothing found: ")[2].splitlines()
    assert checked.split(", ") == [
        *("repeats", "input", "updates", "gradients", "attention", "loss_spike"),
        *("loss_rise", "no_learning", "validation_rise", "gap", "not_finite", "ended"),
    ]
    named = [line.partition(":")[0].strip() for line in rest[1:]]
    assert {*checked.split(", "), *named} == set(diagnosis.NAMES)
    assert "  experts: the model has no experts" in rest


def test_findings_come_in_the_order_in_which_they_began(broken, capsys):
    found = json.loads(diagnose(capsys, broken, "--json"))
    findings = found[0]["findings"]
    checks = [finding["check"] for finding in findings]
    assert checks == ["updates", "loss_rise", "not_finite"]
    steps = [finding["step"] for finding in findings]
    # The loss hardly falls any more before it rises.
    assert steps[::2] == [500, 911] and 500 < steps[1] <= 640
    assert found[0]["status"] == "diverged" and not found[0]["healthy"]
    text = diagnose(capsys, broken, "--check", code=1)
    assert text == diagnose(capsys, broken)
    first = text.index("\nstep 500, updates: updates are as large as the parameters")
    assert first < text.index("\nstep 911, not_finite: ")
    for part in ("  measured: ", "  limit: 0.5 of a group's RMS", "  try: a lower sch"):
        assert part in text[first:]


def test_several_runs_have_a_line_each(broken, capsys):
    folder = broken.parent
    written.write(folder / "fine", written.healthy())
    written.write(folder / "no log", None)
    damaged = written.write(folder / "damaged", written.healthy())
    (damaged / "run.json").write_text("{")
    head, *rows, summary = diagnose(capsys, folder).splitlines()
    assert head.split() == ["run", "status", "first", "finding"]
    assert [row.split("  ")[0] for row in rows] == [
        "broken",
        "damaged",
        "fine",
        "no log",
    ]
    assert "step 500, updates: " in rows[0] and rows[0].endswith("(and 2 more)")
    assert "unreadable" in rows[1] and "cannot be read as JSON" in rows[1]
    assert rows[2].endswith(f"healthy by 12 of {len(diagnosis.NAMES)} checks")
    assert summary == "4 runs: 2 healthy, 2 not"
    diagnose(capsys, folder, "--check", code=1)


def test_published_runs_are_healthy_but_for_rates_far_from_the_tuned_ones(
    repo_root, capsys
):
    """Far are the lowest rates of the sweep, and the one beyond the cliff.

    Some probes are learnt by heart in 300 steps, which is said of them.
    """
    results = repo_root / "tools" / "study" / "results"
    pilot = json.loads(diagnose(capsys, results / "pilot", "--json"))
    assert len(pilot) == 16 and all(run["healthy"] for run in pilot)
    # By its record alone.
    assert {"rate", "repeats", "gap", "no_learning"} <= set(pilot[0]["checked"])
    assert "no metrics.jsonl" in pilot[0]["not_checked"]["loss_spike"]
    sweep = json.loads(diagnose(capsys, results / "first_study", "--json"))
    found = [(run, finding) for run in sweep for finding in run["findings"]]
    assert {
        (finding["check"], "/finetune/" in run["run"]) for run, finding in found
    } <= {("rate", False), ("gap", True)}
    far = {
        f"{run['model']} {finding['evidence']['schedule.learning_rate']}"
        for run, finding in found
        if finding["check"] == "rate"
    }
    assert {
        "transformer-DM16-NH1-FF64-PI 0.015",
        "transformer-milli 0.0075",
        "transformer-milli 0.06",
    } <= far
    assert "transformer-DM16-NH1-FF64-PI 0.03" not in far


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        (["nowhere"], 2, "nowhere"),
        (["empty"], 2, "no run with a record found"),
        (["damaged"], 1, "run.json: cannot be read as JSON"),
        (["fine", "--rates", "nowhere.json"], 1, "nowhere.json: No such file"),
    ],
)
def test_bad_input_is_a_line(given, code, says, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    written.write(tmp_path / "fine", written.healthy(100))
    written.write(tmp_path / "damaged", None).joinpath("run.json").write_text("{")
    assert cli.main(["diagnose", *given]) == code
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith("clinometer diagnose: ") and says in said.err
