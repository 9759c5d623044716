"""Tests that the conditions of a run are read from its record."""

import json
import pathlib

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import conditions
from clinometer.train.run import record as run_record

_STORED = pathlib.Path(__file__).parents[2] / "train/run/testdata/pretraining.json"


def _columns(**changes):
    contents = synthetic_study.record(**changes)
    return conditions.columns(run_record.from_json(contents))


def test_a_stored_record_has_all():
    contents = json.loads(_STORED.read_text())
    found = conditions.columns(run_record.from_json(contents))
    config = contents["config"]
    assert found["data_order"] == config["data"]["seed"]  # Its former name.
    assert found["d_model"] == config["model"]["d_model"] == 16
    assert found["noise_density"] == config["data"]["noise_density"]
    assert found["validation_rows"] == config["eval"]["max_rows"]
    assert found["z_loss"] == config["z_loss"]
    assert found["optimizer"].split()[-1].startswith("weight_decay=")
    assert "name=" in found["schedule"] and "learning_rate" not in found["schedule"]
    assert "d_model=16" in found["model_overrides"]
    assert "vocab_size" not in found["model_overrides"]
    assert found["order_protocol"] == "shuffled epochs"
    assert found["initial"] == "random"
    missing = {key for key, value in found.items() if value is None}
    assert missing <= {"dtype", "dropout_rate", "validation_rows"}


def test_the_protocol_of_the_rate():
    fixed = _columns(config__schedule={"learning_rate": 0.03})
    assert fixed["rate_protocol"] == "fixed at 0.03"
    tuned = _columns(
        config__schedule={"learning_rate": 0.03}, config__study={"rate_table": "c0ffee"}
    )
    assert tuned["rate_protocol"] == "table c0ffee"
    assert tuned["learning_rate"] == 0.03
    assert _columns()["rate_protocol"] is None


def test_widths_come_from_the_model():
    assert _columns()["d_model"] == 32
    assert _columns(architecture="unheard-of")["d_model"] is None
    start = {"run": "runs/a", "step": 7, "optimizer_slots": "reset"}
    assert _columns(initial=start)["initial"] == ("runs/a at step 7, optimizer reset")
