"""Tests that folders of runs and imported files become one frame."""

import numpy as np
import pytest

from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.fit import errors as fit_errors
from clinometer.tools.results import errors
from clinometer.tools.results import frame
from clinometer.tools.results import main
from clinometer.tools.results import table


def test_a_folder_of_runs(tmp_path):
    synthetic_study.write_study(tmp_path)
    name = "transformer-pico-s0"
    synthetic_study.write_finetuning(
        tmp_path / "runs" / name, {"rte": (60.0, 1.5), "boolq": (70.0, 2.0)}
    )
    found = frame.read(tmp_path).set_index("run", drop=False)
    assert len(found) == 5
    expected = synthetic_study.record("pico")
    row = found.loc[name]
    assert row["validation_loss_nats"] == expected["metrics"]["validation/loss"]
    assert row["tokens_seen"] == expected["data"]["tokens_seen"]
    assert (row["score_rte"], row["score_rte_standard_error"]) == (60.0, 1.5)
    assert np.isnan(found.loc["transformer-nano-s0", "score_rte"])
    assert not found["published"].any() and found["left_out"].isna().all()


def test_several_settings_of_the_finetuning_give_no_score(tmp_path):
    synthetic_study.write_study(tmp_path)
    run = tmp_path / "runs" / "transformer-pico-s0"
    for rate in (0.01, 0.02):
        scores = {"rte": (60.0, 1.5)}
        synthetic_study.write_finetuning(run, scores, str(rate), learning_rate=rate)
    found = frame.read(tmp_path)
    assert "score_rte" not in found or found["score_rte"].isna().all()


def test_a_task_of_another_finetuning_has_its_score(tmp_path):
    synthetic_study.write_study(tmp_path)
    run = tmp_path / "runs" / "transformer-pico-s0"
    synthetic_study.write_finetuning(run, {"cloze": (40.0, 1.0)})
    synthetic_study.write_finetuning(run, {"rte": (60.0, 1.5)}, "more")
    row = frame.read(tmp_path).set_index("run").loc["transformer-pico-s0"]
    assert (row["score_cloze"], row["score_rte"]) == (40.0, 60.0)
    scores = {"rte": (61.0, 1.5)}
    synthetic_study.write_finetuning(run, scores, "again", learning_rate=0.3)
    row = frame.read(tmp_path).set_index("run").loc["transformer-pico-s0"]
    assert row["score_cloze"] == 40.0 and "score_rte" not in row.dropna()


def test_runs_left_out_say_why(tmp_path):
    synthetic_study.write_study(tmp_path)
    record = synthetic_study.record(seed=5, status="running", metrics__step=300)
    synthetic_study.write_run(tmp_path / "runs" / "unfinished", record)
    found = frame.read(tmp_path)
    assert found.set_index("run").loc["unfinished", "left_out"].startswith("running")
    assert len(table.usable(found)) == 5
    assert len(table.usable(found, "validation_loss_nats")) == 5
    assert len(table.usable(found, "no_such_score")) == 0


def test_imported_files_stand_beside_runs(tmp_path, capsys):
    synthetic_study.write_study(tmp_path)
    file = tmp_path / "theirs.csv"
    file.write_text("run,model,validation_loss_nats\nx,glu-small,2.5\n")
    assert main.main([str(file), "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith("1 runs of 1 architectures\n")
    found = frame.read(tmp_path)
    assert len(found) == 6 and found["source"].tolist()[-1] == "theirs.csv"
    # Their text is unknown, so their losses are not fitted together.
    with pytest.raises(fit_errors.FitError, match="corpus_hash"):
        table.check_comparable(found)
    file.write_text("run,model\ntransformer-pico-s0,glu-small\n")
    assert main.main([str(file), "--out", str(tmp_path)]) == 0
    with pytest.raises(errors.ResultsError, match="two sources have a run named"):
        frame.read(tmp_path)


def test_nothing_to_read(tmp_path):
    with pytest.raises(errors.ResultsError, match="no such folder"):
        frame.read(tmp_path / "nowhere")
    with pytest.raises(errors.ResultsError, match="no run and no imported file"):
        frame.read(tmp_path)
