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

_VOID = {"meta", "br", "input"}


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


def test_same_input_same_bytes_in_any_folder_and_process(tmp_path):
    first = synthetic_study.write_study(tmp_path / "one")
    second = synthetic_study.write_study(tmp_path / "elsewhere" / "two")
    build.build(first, tmp_path / "out1")
    code = (
        "import pathlib, sys; from clinometer.tools.report import build;"
        "build.build(*map(pathlib.Path, sys.argv[1:]))"
    )
    subprocess.run(
        [sys.executable, "-c", code, second, tmp_path / "out2"],
        env=python_child.environment(os.environ)
        | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "LC_ALL": "C"},
        check=True,
    )
    before = _bytes(tmp_path / "out1")
    assert before == _bytes(tmp_path / "out2")
    figures = (
        *("loss-transformer", "frontier-training-flops", "frontier-flops"),
        *("frontier-flops-non-embedding", "frontier-parameters", "frontier-time"),
        *("frontier-multiply-adds", "held-out", "residuals", "timing"),
        *(f"curves-{size}" for size in synthetic_study.SIZES),
    )
    data = (
        *("models", "architectures", "runs", "curves", "checks", "lines"),
        *("variants", "residuals", "held_out"),
    )
    laws = (
        *("alphas", "alpha_variants", "equation_one", "size_and_data", "held_out"),
        *("frontiers", "paper_claims"),
    )
    assert set(before) == {
        *("report.html", "runs.csv"),
        *(f"data/{name}.csv" for name in data),
        *(f"laws/{name}.csv" for name in laws),
        *(f"figures/{n}.{form}" for n in figures for form in ("svg", "png", "pdf")),
    }
    # Mutation: if one loss changes in its last digits, the page, table and figure do.
    path = second / "runs" / "transformer-pico-s1" / "run.json"
    path.write_text(
        re.sub(r'("validation/loss": \d\.\d)\d', r"\g<1>9", path.read_text())
    )
    build.build(second, tmp_path / "out2")
    after = _bytes(tmp_path / "out2")
    for name in ("report.html", "runs.csv", "figures/frontier-parameters.svg"):
        assert before[name] != after[name]

    page = _Balance()
    page.feed(before["report.html"].decode())
    assert page.open == []
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
    # Every figure is there without its script, once for wide pages and once for phones
    # where they differ; phones have another of each panel of loss and curves, and of
    # held-out errors.
    assert text.count('<div class="static ') == len(figures) + 6
    assert len(text) < 3_000_000


@pytest.mark.usefixtures("without_figures")
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


@pytest.mark.usefixtures("without_figures")
def test_one_run_gives_a_report_without_slope(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    text = build.build(tmp_path).page.read_text()
    assert "No gain can be told yet" in text and "no two sizes to compare" in text


@pytest.mark.usefixtures("without_figures")
def test_an_unfinished_folder_says_what_is_missing(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record(status="running"))
    text = _checked(tmp_path)
    assert "No run has finished yet" in text
    assert "transformer-pico (1 running)" in text
    assert "a: running at step 600 of 600" in text
    assert 'data-name="runs"' in text and 'data-name="table1"' not in text


def test_mixed_corpora_are_an_error(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    synthetic_study.write_run(
        tmp_path / "b", synthetic_study.record("nano", data__corpus_hash="other")
    )
    with pytest.raises(errors.FitError, match="other: b"):
        build.build(tmp_path)


@pytest.mark.usefixtures("without_figures")
def test_conditions_may_be_mixed_if_asked_for(tmp_path):
    synthetic_study.write_run(tmp_path / "a", synthetic_study.record())
    changed = synthetic_study.record("nano", config__train_steps=900)
    synthetic_study.write_run(tmp_path / "b", changed)
    with pytest.raises(errors.FitError, match=r"run length \(train_steps\). 600: a"):
        build.build(tmp_path)
    text = build.build(tmp_path, mixed=("train_steps",)).page.read_text()
    assert "as asked for, fits mix runs that differ in run length" in text


@pytest.mark.usefixtures("without_figures")
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
    (left,) = re.findall(r'data-name="left_out".*?</table>', text, re.DOTALL)
    assert "diverged" in left and "failed at step 40 of 600" in left
    assert "every fit" in left
    assert "the loss is nan" in text
    assert "vanished left no record" in text
    assert {fit.runs for fit in report.fits} == {5}
    assert {tuple(fit.left_out) for fit in report.fits} == {("diverged",)}


@pytest.mark.usefixtures("without_figures")
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


@pytest.mark.usefixtures("without_figures")
def test_a_study_without_replicates_says_what_cannot_be_known(tmp_path):
    for size in synthetic_study.SIZES:
        synthetic_study.write_run(tmp_path / size, synthetic_study.record(size))
    text = _checked(tmp_path)
    assert "The error between runs is unknown" in text and "no replicates" in text
    assert "without an interval: the error between runs is unknown" in text
    assert text.count(">error unknown</span>") == 3  # One for each step.
    assert "There is no other architecture to compare with Transformer" in text


@pytest.mark.parametrize("names", [("transformer", "glu"), tuple(models.ARCHITECTURES)])
@pytest.mark.usefixtures("without_figures")
def test_several_architectures_in_common_orders(tmp_path, names):
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
    settings = {"settings": {"design.margin": 0.027}}
    (tmp_path / "study.json").write_text(json.dumps(settings))
    text = _checked(tmp_path)
    assert "Margin, committed before the runs: 0.0270 nats" in text


@pytest.mark.usefixtures("without_figures")
def test_claims_lead_the_page(tmp_path):
    claims = pathlib.Path(example_claims.PATH).read_bytes() + b"MARGIN_NATS = 0.027\n"
    text = _checked(synthetic_study.write_study_with_claims(tmp_path, claims))
    lead = text[text.index("<h1") : text.index("</section>")]
    for words in ("Claims</h2>", "vanilla gains with size", "supported", "gain 0.3"):
        assert words in lead


def test_notes_on_models_that_have_runs_are_warnings(tmp_path):
    synthetic_study.write_study(tmp_path)
    notes = {"transformer-pico": "is small", "switch-xl": "is large"}
    (tmp_path / "study.json").write_text(json.dumps({"notes": notes}))
    warnings = build.read(tmp_path).warnings
    assert "transformer-pico: is small" in warnings
    assert not any("switch-xl" in text for text in warnings)
