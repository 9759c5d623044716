"""Tests that the report is reproducible byte for byte and that its HTML is valid."""

import html.parser
import json
import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from clinometer import models
from clinometer.kernels import python_child
from clinometer.tests.tools.report import synthetic_study
from clinometer.tests.tools.study.claims import example_claims
from clinometer.tools.fit import errors
from clinometer.tools.report import build
from clinometer.tools.report import records

_VOID = {"meta", "br"}


class _Balance(html.parser.HTMLParser):
    """Tracks unclosed elements, and collects links and counts."""

    def __init__(self):
        super().__init__()
        self.open, self.links, self.counts = [], [], {}

    def handle_starttag(self, tag, attrs):
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def _bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_matplotlib_settings_of_the_user_change_nothing(tmp_path):
    study = synthetic_study.write_study(tmp_path / "study")
    (tmp_path / "matplotlibrc").write_text(
        "backend: svg\nlines.linewidth: 9\naxes.facecolor: black\nfigure.dpi: 300\n"
        "font.size: 30\naxes.formatter.use_locale: True\nsavefig.bbox: tight\n"
        "svg.image_inline: False\naxes.prop_cycle: cycler('color', ['r'])\n"
    )
    undecodable = tmp_path / "bytes" / "matplotlibrc"
    undecodable.parent.mkdir()
    undecodable.write_bytes(b"\xff\xfe bad")
    code = (
        "import pathlib, sys; from clinometer.tools.report import build;"
        "build.build(*map(pathlib.Path, sys.argv[1:]))"
    )
    build.build(study, tmp_path / "usual")
    for folder in (tmp_path, undecodable.parent):
        done = subprocess.run(
            [sys.executable, "-c", code, study, folder / "other"],
            cwd=folder,
            env=python_child.environment(os.environ) | {"MPLBACKEND": "nonsense"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert _bytes(folder / "other") == _bytes(tmp_path / "usual")


def test_same_input_same_bytes_in_any_folder(tmp_path):
    first = synthetic_study.write_study(tmp_path / "one")
    second = synthetic_study.write_study(tmp_path / "elsewhere" / "two")
    build.build(first, tmp_path / "out1")
    build.build(second, tmp_path / "out2")
    before = _bytes(tmp_path / "out1")
    assert before == _bytes(tmp_path / "out2")
    assert set(before) == {
        "report.html",
        "runs.csv",
        *(
            f"figures/{key}.svg"
            for key in (
                "training_flops",
                "multiply_adds",
                "flops",
                "flops_non_embedding",
                "parameters",
                "time",
                "loss_curves",
                "time_breakdown",
            )
        ),
    }
    # Mutation: if one loss changes in its last digits, the page, table and figure do.
    path = second / "runs" / "transformer-pico-s1" / "run.json"
    path.write_text(
        re.sub(r'("validation/loss": \d\.\d)\d', r"\g<1>9", path.read_text())
    )
    build.build(second, tmp_path / "out2")
    after = _bytes(tmp_path / "out2")
    for name in ("report.html", "runs.csv", "figures/parameters.svg"):
        assert before[name] != after[name]

    page = _Balance()
    page.feed(before["report.html"].decode())
    assert page.open == []
    assert page.counts["svg"] == 8
    assert all(link.startswith("#") for link in page.links)
    text = before["report.html"].decode()
    for words in (
        "clinometer study",
        "AMD EPYC",
        "c0ffee",
        "jax 0.10.2",
        "95 % interval",
    ):
        assert words in text
    assert str(tmp_path) not in text


def test_several_architectures_odd_names_and_warnings(tmp_path):
    synthetic_study.write_study(tmp_path)
    runs = tmp_path / "runs"
    synthetic_study.write_run(
        runs / "evolved-a-s0",
        synthetic_study.record("micro", architecture="<b>&evolved"),
        spikes=(20, 300),
    )
    synthetic_study.write_run(
        runs / "half",
        synthetic_study.record(status="failed", error="no <disk> space"),
    )
    report = build.build(tmp_path)
    text = report.page.read_text()
    assert "<b>&evolved" not in text and "&lt;b&gt;&amp;evolved" in text
    assert "no &lt;disk&gt; space" in text
    assert "2 loss spikes, at step 20, 300" in text
    assert {fit.architecture for fit in report.fits} == {"transformer", "<b>&evolved"}
    page = _Balance()
    page.feed(text)
    assert page.open == []


def test_one_run_gives_a_report_without_slope(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    text = build.build(tmp_path).page.read_text()
    assert "no gain" in text and "no two sizes to compare" in text


def test_nothing_finished_is_an_error(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record(status="running"))
    with pytest.raises(records.RecordError, match=r"no finished run.*a \(running\)"):
        build.build(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_mixed_corpora_are_an_error(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    synthetic_study.write_run(
        tmp_path / "b", synthetic_study.record("nano", data__corpus_hash="other")
    )
    with pytest.raises(errors.FitError, match="other: b"):
        build.build(tmp_path)


def test_conditions_may_be_mixed_if_asked_for(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    changed = synthetic_study.record("nano", config__train_steps=900)
    synthetic_study.write_run(tmp_path / "b", changed)
    with pytest.raises(errors.FitError, match=r"run length \(train_steps\). 600: a"):
        build.build(tmp_path)
    text = build.build(tmp_path, mixed=("train_steps",)).page.read_text()
    assert "as asked for, fits mix runs that differ in run length" in text


def test_failures_are_shown_and_counted(tmp_path):
    synthetic_study.write_study(tmp_path)
    runs = tmp_path / "runs"
    failed = synthetic_study.record(
        seed=7, status="failed", error="the loss is nan", metrics__step=40
    )
    failed["metrics"]["validation/loss"] = float("inf")
    synthetic_study.write_run(runs / "diverged", failed)
    # The process ended before there was a record.
    (runs / "vanished").mkdir()
    (runs / "vanished" / "log.txt").write_text("killed")
    report = build.build(tmp_path)
    text = report.page.read_text()
    assert "5 of 7 runs finished, 1 failed, 1 without a record, of 4 models" in text
    assert "diverged, from all fits: failed at step 40 of 600" in text
    assert "the loss is nan" in text
    assert "vanished left no record" in text
    assert {fit.runs for fit in report.fits} == {5}
    assert {tuple(fit.left_out) for fit in report.fits} == {("diverged",)}


def test_a_study_whose_runs_all_failed_has_a_report(tmp_path):
    failed = synthetic_study.record(status="failed", error="the loss is nan")
    synthetic_study.write_run(tmp_path / "a", failed)
    text = build.build(tmp_path).page.read_text()
    assert "0 of 1 runs finished, 1 failed" in text
    assert "Nothing can be inferred: runs: none given" in text


def _checked(directory):
    """Builds a report; returns the text of its page, whose elements are balanced."""
    text = build.build(directory).page.read_text()
    page = _Balance()
    page.feed(text)
    assert page.open == []
    return text


def test_a_study_without_replicates_says_what_cannot_be_known(tmp_path):
    for size in synthetic_study.SIZES:
        synthetic_study.write_run(tmp_path / size, synthetic_study.record(size))
    text = _checked(tmp_path)
    assert "The error between runs is unknown" in text and "no replicates" in text
    assert "no interval: the error between runs is unknown" in text
    assert text.count("error unknown</span>") == 3  # One for each step.
    assert "There is no other architecture to compare with transformer" in text


@pytest.mark.parametrize("names", [("transformer", "glu"), tuple(models.ARCHITECTURES)])
def test_several_architectures_in_common_orders(tmp_path, monkeypatch, names):
    monkeypatch.setattr(build, "_draw", lambda *unused: {})  # They take the time.
    rng = np.random.default_rng(0)
    losses = {
        (name, size, order, 10 * order + i): 4.5 - 0.1 * j + 0.01 * rng.normal()
        for name in names
        for j, size in enumerate(synthetic_study.SIZES)
        for order in (1, 2)
        for i in range(2 if name == "transformer" else 1)
    }
    text = _checked(synthetic_study.write_losses(tmp_path, losses))
    assert "conditional on the 2 orders" in text
    assert "No margin was committed before the runs" in text
    assert text.count("change of sign between the ends</td>") == len(names) - 1
    # Gains over ranges of their own are not put side by side as headlines.
    assert 'class="headline"' not in text
    settings = {"settings": {"design.margin": 0.027}}
    (tmp_path / "study.json").write_text(json.dumps(settings))
    text = _checked(tmp_path)
    assert "Margin, committed before the runs: 0.0270 nats" in text


def test_claims_lead_the_page(tmp_path):
    claims = pathlib.Path(example_claims.PATH).read_bytes() + b"MARGIN_NATS = 0.027\n"
    text = _checked(synthetic_study.write_study_with_claims(tmp_path, claims))
    table = text[text.index("<h2>Claims</h2>") : text.index("<h2>Gain with size</h2>")]
    for words in ("vanilla gains with size", "supported", "gain 0.3"):
        assert words in table
    assert text.index("<h2>") == text.index("<h2>Claims</h2>")
