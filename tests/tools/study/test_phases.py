"""Tests which commands of a study are left to run, given its folders."""

import pytest

from clinometer.models.counting import counts
from clinometer.tests.data.store import empty_store
from clinometer.tests.tools.report import synthetic_study
from clinometer.tools.report import records
from clinometer.tools.study import errors
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import protocol
from clinometer.tools.study import source
from clinometer.tools.study import sweep
from clinometer.train import config as config_lib
from clinometer.train import errors as train_errors
from clinometer.train.downstream import finetune

PICO, NANO = (
    plan.PlannedRun(f"transformer-{size}", 0, learning_rate=0.03)
    for size in ("pico", "nano")
)


def _parse(tmp_path, *argv):
    return options_lib.parse(
        ["--out", str(tmp_path), "--downstream-steps", "30", *argv]
    )


@pytest.fixture
def store(tmp_path):
    """Returns the manifest of the token store of the synthetic runs."""
    data = synthetic_study.record("pico")["data"]
    return str(empty_store.write(tmp_path / "store", data["vocabulary_sha256"]))


@pytest.fixture
def options(tmp_path):
    """Returns the options of a study in which pico is pretrained and nano is not."""
    options = _parse(tmp_path)
    for run, status in ((PICO, "finished"), (NANO, "running")):
        record = synthetic_study.record(run.model.split("-")[1], status=status)
        synthetic_study.write_run(phases.run_folder(options, run), record)
    return options


def test_finished_runs_are_fine_tuned_and_those_not_again(options, store, tmp_path):
    (tuning,) = options.study.protocol.finetunings
    (work,) = phases.finetunings(options, [PICO, NANO], store, tuning)
    assert (work.name, work.finished) == ("transformer-pico-s0 fine-tuning", False)
    pico = phases.run_folder(options, PICO)
    assert work.folder == pico / "finetune" / "study"
    assert "--config.train_steps=30" in work.command
    assert f"--store={store}" in work.command

    config = finetune.make_config(
        str(pico),
        options.study.protocol.downstream.mixture,
        None,
        store=store,
        overrides=[x for x in work.command if x.startswith("--config.")],
    )
    contents = config_lib.to_dict(config)
    synthetic_study.write_finetuning(pico, {"cloze": (9, 1)}, config=contents)
    (work,) = phases.finetunings(options, [PICO, NANO], store, tuning)
    assert work.finished
    options = _parse(tmp_path, "--downstream-steps", "31")
    (tuning,) = options.study.protocol.finetunings
    with pytest.raises(errors.StudyError, match="train_steps = 30; this study has 31"):
        phases.finetunings(options, [PICO], store, tuning)


def test_a_further_finetuning_is_of_its_models(options, store):
    settings = protocol.DownstreamSettings(
        mixture="acceptability", train_steps=7, decoder_length=9, decoding="beam"
    )
    tuning = protocol.Finetuning("more", settings, ("transformer-pico",))
    (work,) = phases.finetunings(options, [PICO, NANO], store, tuning)
    pico = phases.run_folder(options, PICO)
    assert work.name == "transformer-pico-s0 fine-tuning more"
    assert work.folder == pico / "finetune" / "more"
    for field in ("train_steps=7", "data.decoder_length=9", "eval.decoding=beam"):
        assert f"--config.{field}" in work.command
    other = protocol.Finetuning("more", settings, ("transformer-nano",))
    assert phases.finetunings(options, [PICO, NANO], store, other) == []
    counted = phases.count_finetuning(options, "transformer-pico", settings)
    assert (counted.batch_size, counted.decoder_length) == (8, 9)


def test_costs_are_those_of_the_run_s_own_lengths(tmp_path):
    options = _parse(tmp_path)
    found = phases.count(options, "transformer-pico")
    assert (found.encoder_length, found.decoder_length) == (128, 29)
    work = [phases.pretraining(options, PICO, "somewhere")]
    expected = counts.count(
        "transformer-pico",
        batch_size=4,
        encoder_length=128,
        decoder_length=29,
        vocab_size=2048,
    )
    costs = phases.costs(options, work)
    assert costs == {PICO.name: expected.flops_train_step}


def test_without_tasks_there_is_nothing_to_tune(tmp_path):
    options = _parse(tmp_path, "--downstream", "")
    assert options.study.protocol.finetunings == ()
    source.check_downstream(options.study.protocol)


def test_missing_files_are_told_before_anything_runs(tmp_path):
    options = _parse(tmp_path, "--downstream", "acceptability,rte")
    with pytest.raises(train_errors.ConfigError, match="rte needs .* --data DIR"):
        source.check_downstream(options.study.protocol)
    options = _parse(
        tmp_path, "--downstream", "acceptability,rte", "--data", str(tmp_path)
    )
    with pytest.raises(train_errors.ConfigError, match="looked for glue/RTE/train.tsv"):
        source.check_downstream(options.study.protocol)


def test_sweeps_have_a_folder_that_the_report_does_not_search(options, tmp_path):
    run = sweep.run_of("transformer-pico", 0.03)
    work = phases.pretraining(options, run, "somewhere")
    assert (
        work.folder == tmp_path / "sweep" / "runs" / "transformer-pico-r0.03-s1000000"
    )
    assert "--config.study.role=sweep" in work.command
    assert "--config.schedule.learning_rate=0.03" in work.command
    names = [found.name for found in records.load_runs(tmp_path)]
    synthetic_study.write_run(work.folder, synthetic_study.record())
    assert [found.name for found in records.load_runs(tmp_path)] == names
