"""Tests that a token store that was moved together with its run is found."""

import pathlib
import shutil

import pytest

from clinometer.data import paths
from clinometer.tests.data.store import empty_store
from clinometer.tests.train import whole_runs
from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train import main
from clinometer.train.downstream import evaluation
from clinometer.train.downstream import finetune
from clinometer.train.run import record as run_record
from clinometer.train.run import store_search


def _record(store, sha256="1" * 64):
    contents = {"format_version": 1, "model": "m", "status": "finished", "seed": 0}
    data = {"store": str(store), "vocabulary_sha256": sha256}
    return run_record.from_json({**contents, "data": data})


@pytest.mark.parametrize(
    ("recorded", "now", "run"),
    [
        ("old/stores/mine", "old/stores/mine", "elsewhere/run"),  # the run moved
        ("old/stores/mine", "new/stores/mine", "new/runs/a"),  # both did
        ("old/stores/mine", "deep/in/new/stores/mine", "deep/in/new/runs/a/b"),
        ("a/p/stores/mine", "b/stores/mine", "b/runs/a"),  # to another depth
        ("old/mine", "new/mine", "new/run"),
        ("old/runs/a/store", "new/runs/a/store", "new/runs/a"),  # below the run itself
    ],
)
def test_a_store_is_found(tmp_path, recorded, now, run):
    store = empty_store.write(tmp_path / now, "1" * 64)
    (tmp_path / run).mkdir(parents=True, exist_ok=True)
    found = store_search.of_run(_record(tmp_path / recorded), tmp_path / run)
    assert found == str(store)


def test_a_store_in_an_object_store_is_found_where_it_is_recorded(objects, tmp_path):
    local = empty_store.write(tmp_path / "mine", "1" * 64)
    url = "s3://bucket/stores/mine"
    for name in paths.files_below(local):
        paths.upload(local / name, f"{url}/{name}")
    record = _record(url)
    assert store_search.of_run(record, "s3://bucket/runs/a") == url
    assert store_search.of_run(record, tmp_path, given=f"{url}/") == url
    paths.remove_tree(url)
    with pytest.raises(errors.RunError, match=f"the store {url} .* is not a token"):
        store_search.of_run(record, "s3://bucket/runs/a")
    with pytest.raises(errors.ConfigError, match=f"--store: {url} is not a token"):
        store_search.of_run(record, "s3://bucket/runs/a", given=url)


def test_the_embedded_corpus_is_in_another_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path / "cache"))
    store = empty_store.write(tmp_path / "cache" / "store-0123-v2048", "1" * 64)
    record = _record("/somewhere/.cache/clinometer/store-0123-v2048")
    assert store_search.of_run(record, tmp_path) == str(store)


def test_a_store_of_another_vocabulary_is_passed_over(tmp_path):
    empty_store.write(tmp_path / "new/stores/mine", "2" * 64)
    right = empty_store.write(tmp_path / "stores/mine", "1" * 64)
    (tmp_path / "new/runs/a").mkdir(parents=True)
    record = _record("/gone/stores/mine")
    assert store_search.of_run(record, tmp_path / "new/runs/a") == str(right)
    shutil.rmtree(right)
    with pytest.raises(errors.RunError, match="/gone/stores/mine .* is not a token"):
        store_search.of_run(record, tmp_path / "new/runs/a")


def test_the_users_own_comes_first_and_must_fit(tmp_path, monkeypatch):
    recorded = empty_store.write(tmp_path / "recorded", "1" * 64)
    empty_store.write(tmp_path / "given", "1" * 64)
    empty_store.write(tmp_path / "other", "2" * 64)
    monkeypatch.chdir(tmp_path)
    record = _record(recorded)
    assert store_search.of_run(record, tmp_path, "given") == str(tmp_path / "given")
    with pytest.raises(errors.RunError, match=r"--store: other has another voc.*22222"):
        store_search.of_run(record, tmp_path, "other")
    with pytest.raises(errors.RunError, match="--store: nowhere is not a token store"):
        store_search.of_run(record, tmp_path, "nowhere")


_TUNED = ("train_steps=2", "data.batch_size=4", "data.encoder_length=32")


def _config(run, *overrides, store=None):
    fields = [f"--config.{field}" for field in (*_TUNED, *overrides)]
    return finetune.make_config(
        str(run), "rte", "data", store=store, overrides=["--config.seed=0", *fields]
    )


@pytest.mark.slow
def test_a_project_may_be_renamed(arguments, store, tmp_path, monkeypatch, capsys):
    project = tmp_path / "project"
    shutil.copytree(store, project / "stores" / "mine")
    (project / "data" / "RTE").mkdir(parents=True)
    rows = ["index\tsentence1\tsentence2\tlabel"]
    rows += [f"{i}\tabc {i}.\tdef {i}.\tentailment" for i in range(6)]
    for name in ("train", "dev"):
        (project / f"data/RTE/{name}.tsv").write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(project)
    relative = "data.store=stores/mine"
    command = [*arguments(relative, "train_steps=4"), "--workdir=runs/base"]
    assert main.main(command) == 0
    record = whole_runs.record(pathlib.Path("runs/base"))
    assert record["config"]["data"]["store"] == str(project / "stores/mine")
    before = job_lib.prepare(_config("runs/base"))
    assert before.config.data.folder == str(project / "data")
    assert before.config.initial.run == str(project / "runs/base")
    earlier = record

    moved = project.rename(tmp_path / "renamed")
    monkeypatch.chdir(moved)
    after = job_lib.prepare(_config(moved / "runs/base"))
    assert after.config.data.store == str(moved / "stores/mine")
    assert after.identity == before.identity
    # The run resumes with another log interval and the store's old path.
    old = arguments(f"data.store={project}/stores/mine", "train_steps=6")
    assert main.main([*old, "--config.log.every_steps=2", "--workdir=runs/base"]) == 0
    record = whole_runs.record(pathlib.Path("runs/base"))
    assert record["config"] != earlier["config"]
    assert record["config"]["data"]["store"] == str(moved / "stores/mine")
    same = job_lib.prepare(_config("runs/base", "initial.step=4"))
    assert same.identity == before.identity

    argv = ["runs/base", "--mixture=rte", "--data=data", "--batch-size=4"]
    assert evaluation.main(argv) == 0
    (moved / "stores").rename(moved / "elsewhere")
    capsys.readouterr()
    assert evaluation.main(argv) == 1
    assert "--store DIR" in capsys.readouterr().err
    assert evaluation.main([*argv, "--store=elsewhere/mine"]) == 0
