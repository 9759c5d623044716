"""Tests that a run's features are scored as by hand, and that bad input is refused."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
import pytest

from clinometer.data.images import augmentation
from clinometer.data.images import sources
from clinometer.tests.kernels import child
from clinometer.tests.train import conftest
from clinometer.tests.train import whole_runs
from clinometer.train import errors
from clinometer.train import exit_codes
from clinometer.train.fewshot import evaluation
from clinometer.train.fewshot import main
from clinometer.train.fewshot import ridge


@pytest.fixture(scope="module")
def request_of(image_run, tmp_path_factory):
    """A request with other images than those of the run."""
    folder = tmp_path_factory.mktemp("other")
    conftest.write_images(folder, 30)
    return evaluation.Request(image_run, str(folder), shots=(1, 5), seeds=(0, 1))


@pytest.fixture(scope="module")
def evaluations(request_of):
    return evaluation.evaluate(dataclasses.replace(request_of, controls=True))


@pytest.fixture
def found(evaluations):
    return evaluations[0]


def test_scores_are_those_by_hand(found, request_of, make_image_config):
    job, state = whole_runs.saved_state(request_of.run, make_image_config())
    pool, test = sources.open_folder(request_of.folder).held_out(0.5)

    def features(images):
        made = []
        for name in images.names:
            with Image.open(f"{request_of.folder}/{name}") as image:
                made.append(augmentation.evaluation(image, 8, 8, keep_aspect=False))
        pixels = jnp.float32(np.stack(made)) / 127.5 - 1
        return np.asarray(job.model.features(jax.device_put(state.params), pixels))

    expected = ridge.accuracies(
        features(pool),
        pool.labels,
        features(test),
        test.labels,
        shots=(1, 5),
        seeds=(0, 1),
    )
    for number, values in expected.items():
        task = found.tasks[f"{number}-shot"]
        # An image on the border between two classes may fall on either side.
        assert list(task.metrics.values()) == pytest.approx(
            [100 * value for value in values], abs=100 * 1.01 / len(test)
        )
        assert task.score == pytest.approx(np.mean(list(task.metrics.values())))
        assert task.examples == len(test) and task.step == 8
    assert found.options["drawn_sha256"] != found.options["test_sha256"]


def test_controls(evaluations, request_of):
    found, random, shuffled = evaluations
    assert random.mixture == "fewshot-random-features"
    assert shuffled.mixture == "fewshot-shuffled-labels"
    assert shuffled.tasks["5-shot"].score < found.tasks["5-shot"].score
    assert random.tasks["5-shot"].step == 0 and shuffled.tasks["5-shot"].step == 8
    # Of the same images.
    assert random.options == found.options == shuffled.options
    (alone,) = evaluation.evaluate(dataclasses.replace(request_of, step=0))
    assert (alone.mixture, alone.tasks) == (random.mixture, random.tasks)


def test_the_command_adds_to_the_record(request_of, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(request_of.run, run)
    command = [str(run), "--data", request_of.folder, "--shots", "1,5"]
    assert main.main([*command, "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    (recorded,) = whole_runs.record(run)["evaluations"]
    assert recorded == printed and recorded["mixture"] == "fewshot"
    assert main.main([*command, "--controls"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("shots") and lines[1].split()[0] == "1"
    assert lines[3] == "random features" and lines[6] == "shuffled labels"
    assert len(whole_runs.record(run)["evaluations"]) == 4


@pytest.mark.slow
def test_eight_devices_are_as_one(evaluations, request_of):
    """The weights and the images are divided; no image changes its class."""
    command = [str(request_of.run), "--data", request_of.folder, "--shots", "1,5"]
    command += ["--seeds", "0,1", "--controls", "--mesh", "fsdp=2,model=2", "--json"]
    code = f"from clinometer.train.fewshot import main; main.main({command!r})"
    process = child.run(code, XLA_FLAGS="--xla_force_host_platform_device_count=8")
    assert process.stdout, process.stderr
    found = [one["tasks"] for one in json.loads(process.stdout)]
    assert found == [one.to_json()["tasks"] for one in evaluations]


def test_bad_input(request_of, tmp_path, capsys):
    def refused(words, **fields):
        with pytest.raises(errors.RunError, match=words):
            evaluation.evaluate(dataclasses.replace(request_of, **fields))

    refused("images to draw 25 from; accepted: up to", shots=(25,))
    refused("one class, 'red'", classes=("red",))
    refused("no class 'rde'", classes=("rde", "blue"))
    refused("no checkpoint of step 5; it has", step=5)
    refused("config.mesh: data 1 x fsdp 1 x expert 1 x model 2", mesh={"model": 2})
    refused("is not a folder", folder="/none")
    folder = tmp_path / "broken"
    conftest.write_images(folder, 12)
    for name in ("red", "green", "blue"):
        (folder / name / "1.png").write_bytes(b"")
    refused("images cannot be decoded, such as", folder=str(folder))
    assert main.main([str(tmp_path), "--data", str(folder)]) == exit_codes.FAILED
    with pytest.raises(SystemExit):
        main.main([str(tmp_path), "--data", "x", "--shots", "two"])
    assert "whole numbers, such as 1,5,10" in capsys.readouterr().err
