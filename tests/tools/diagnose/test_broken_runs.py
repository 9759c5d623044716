"""Tests of runs that were trained and broken on purpose."""

import json

import numpy as np
import pytest

from clinometer.tests.train import conftest as train_conftest
from clinometer.tools import cli
from clinometer.tools.diagnose import diagnosis
from clinometer.tools.diagnose import telemetry
from clinometer.tools.study import protocol
from clinometer.tools.study.tuning import table as table_lib
from clinometer.train import main
from clinometer.train.run import checkpoints

pytestmark = pytest.mark.slow

_STEPS = 40
_RATE = 0.03
# float32 has no such rate, so that parameters stay as they are.
_NO_RATE = 1e-60
_SETTINGS = (
    "data.batch_size=4",
    "data.encoder_length=32",
    "model.num_encoder_layers=1",
    "model.num_decoder_layers=1",
    "model.d_model=16",
    "model.d_ff=32",
    "model.dropout_rate=0.0",
    "schedule.name=constant",
    "log.every_steps=1",
    "log.health_every_steps=4",
    "log.trackers=",
    "eval.every_steps=20",
    "eval.max_rows=4",
    "checkpoint.every_steps=20",
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return train_conftest.write_store(tmp_path_factory.mktemp("corpus"), seed=0)


@pytest.fixture(scope="module")
def no_table():
    return table_lib.Table()


def train(path, store, rate, *settings, steps=_STEPS, model="transformer-pico"):
    """Trains a run, or goes on with it; returns its telemetry and the exit code."""
    fields = (
        *_SETTINGS,
        f"data.store={store}",
        f"schedule.learning_rate={rate}",
        f"train_steps={steps}",
        *settings,
    )
    config = f"--config=train/configs/pretrain.py:{model}"
    given = [config, *(f"--config.{field}" for field in fields), f"--workdir={path}"]
    code = main.main(given)
    return telemetry.read(path), code


@pytest.fixture(scope="module")
def healthy(tmp_path_factory, store):
    path = tmp_path_factory.mktemp("healthy") / "run"
    return train(path, store, _RATE)[0]


def found(run, table):
    """Returns check -> finding, and the names of the checks that found nothing."""
    result = diagnosis.diagnose(run, table)
    return {each.check: each for each in result.findings}, result.checked


def go_on(monkeypatch, path, store, change, *settings, **options):
    """Goes on with a run whose parameters are changed at its last checkpoint."""
    restore = checkpoints.Checkpoints.restore

    def changed(*arguments):
        state, progress = restore(*arguments)
        change(state.params)
        return state, progress

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "restore", changed)
        return train(path, store, _NO_RATE, *settings, **options)[0]


def test_a_healthy_run(healthy, no_table):
    findings, checked = found(healthy, no_table)
    assert findings == {}
    assert {
        *("repeats", "updates", "gradients", "attention", "loss_spike", "loss_rise"),
        *("no_learning", "gap", "not_finite", "ended"),
    } <= set(checked)


def test_a_rate_of_ten(tmp_path, store, healthy):
    """The table says that the rate of the healthy run is the tuned one."""
    # The run took the default of the dtype.
    config = healthy.config | {"model.dtype": "float32"}
    entry = table_lib.Entry(
        architecture="transformer",
        layers=(1, 1),
        settings={
            name: config.get(name) for name in protocol.Protocol().rate_settings()
        },
        corpus_hash="",
        vocabulary_sha256="",
        seed=1,
        curvature=0.3,
        curvature_error=0.1,
        spread=0.02,
        sizes=(
            table_lib.Size(
                width=16,
                model="transformer-pico",
                rate=_RATE,
                losses=(),
                interior=True,
                vertex=None,
                cliff=None,
                remarks=(),
            ),
        ),
        check=None,
        measured={},
    )
    table = table_lib.Table(entries=(entry,))
    assert "rate" in found(healthy, table)[1]
    run, _ = train(tmp_path / "run", store, 10.0)
    findings, _ = found(run, table)
    assert findings["rate"].evidence["ratio"] == pytest.approx(10 / _RATE)
    # The first measurement of updates, which are ten times the parameters.
    assert findings["updates"].step == 4
    assert findings["updates"].evidence["largest update_ratio"] > 1
    assert {"no_learning", "not_finite"} & findings.keys()
    first = min(findings.values(), key=lambda each: each.step)
    assert first.check == "rate"


def test_few_rows_again_and_again(tmp_path, no_table):
    text = tmp_path / "few"
    text.mkdir()
    store = train_conftest.write_store(text, seed=1, documents=5)
    steps = 3 * _STEPS
    run, _ = train(tmp_path / "run", store, _RATE, steps=steps)
    (repeats,) = [f for f in found(run, no_table)[0].values() if f.check == "repeats"]
    manifest = json.loads((store / "manifest.json").read_text())
    tokens = manifest["splits"]["train"]["tokens"]
    # Of 34 raw tokens a row, 4 rows and 120 steps.
    per_step = run.record.data.tokens_seen / steps
    assert per_step == 4 * 34
    passes = per_step * steps / tokens
    assert passes > 4
    assert repeats.evidence["passes over the data"] == pytest.approx(passes)
    assert (repeats.step - 1) * per_step < 4 * tokens <= repeats.step * per_step


def test_attention_that_collapses(tmp_path, store, no_table, monkeypatch):
    path = tmp_path / "run"
    run, _ = train(path, store, _NO_RATE, steps=20)
    assert "attention" not in found(run, no_table)[0]

    def sharpen(params):
        module = params["decoder/layer_0/cross_attention"]
        name = next(name for name in module if name.startswith("query"))
        module[name] = module[name] * 1e6

    run = go_on(monkeypatch, path, store, sharpen)
    findings, _ = found(run, no_table)
    assert findings["attention"].step == 24
    (name,) = findings["attention"].evidence
    assert name == "entropy of decoder/cross_attention layer 0"


def test_experts_that_a_router_without_weights_kills(
    tmp_path, store, no_table, monkeypatch, capsys
):
    """All logits are equal, and the first expert takes every token."""
    path = tmp_path / "run"
    # Every other layer has experts.
    layers = "model.num_encoder_layers=2", "model.num_decoder_layers=2"
    train(path, store, _NO_RATE, *layers, steps=20, model="switch-pico")

    def forget(params):
        for module in params.values():
            if "router" in module:
                module["router"] = module["router"] * 0

    run = go_on(monkeypatch, path, store, forget, *layers, model="switch-pico")
    findings, _ = found(run, no_table)
    dead = findings["experts"]
    assert dead.step == 24
    load = next(v for v in run.health(end="/load").values())[-1][1]
    number = np.asarray(load).shape[-1]
    assert f"{number - 1} of {number} experts are dead" in dead.what
    assert findings["dropped"].step == 24
    capsys.readouterr()
    assert cli.main(["diagnose", str(path), "--check"]) == 1
    assert "experts are dead" in capsys.readouterr().out
