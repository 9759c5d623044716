"""Tests that Vision Transformers train, resume exactly and refuse bad input early."""

import shutil

import jax
import numpy as np
from PIL import Image
import pytest

from clinometer import models
from clinometer.data.images import sources as image_folders
from clinometer.tests.train import conftest
from clinometer.tests.train import whole_runs
from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train import loop


def test_a_run_learns_and_is_recorded(image_run, image_folder):
    record = whole_runs.record(image_run)
    assert (record["kind"], record["status"]) == ("classification", "finished")
    found = image_folders.open_folder(image_folder)
    train, validation = found.held_out(0.2)
    assert record["data"]["images"] == {
        "classes": 3,
        "train_images": len(train),
        "validation_images": len(validation),
        "train_sha256": train.fingerprint,
        "validation_sha256": validation.fingerprint,
        "broken": {},
    }
    assert record["data"]["epochs"] == 8 * 8 / len(train)
    assert record["config"]["model"]["num_classes"] == 3
    model = models.build(
        record["model"], num_classes=3, image_height=8, image_width=8, patch_size=4
    )
    counts = model.count(8, models.ImageShape(8, 8), trace=False)
    assert record["counts"]["params_total"] == counts.params_total
    assert record["counts"]["flops_train_step"] == counts.flops_train_step
    metrics = record["metrics"]
    # The sum of three binary cross-entropies begins at 3 ln 2.
    assert metrics["validation/loss"] < 0.8 * 3 * np.log(2)
    assert metrics["validation/tokens"] == len(validation)
    health = "health/encoder/self_attention/entropy"
    assert any(health in key for r in whole_runs.records(image_run) for key in r)


def test_it_resumes_exactly(image_run, make_image_config, tmp_path):
    assert loop.train(job_lib.prepare(make_image_config("train_steps=4")), tmp_path)
    config = make_image_config("data.threads=3")  # Which do not matter.
    assert loop.train(job_lib.prepare(config), tmp_path) == "finished"
    states = [whole_runs.saved_state(run, config)[1] for run in (image_run, tmp_path)]
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_broken_images_are_named_in_the_record(make_image_config, tmp_path):
    folder = tmp_path / "images"
    conftest.write_images(folder, 12)
    (folder / "red" / "3.png").write_bytes(b"")
    config = make_image_config(
        f"data.folder={folder}", "train_steps=6", "log.health_every_steps=0"
    )
    assert loop.train(job_lib.prepare(config), tmp_path / "run") == "finished"
    images = whole_runs.record(tmp_path / "run")["data"]["images"]
    assert images["broken"] == {"red/3.png": "the file is empty"}


@pytest.mark.parametrize(
    "overrides, words",
    [
        (["data.folder="], r"config\.data\.folder: missing"),
        (["data.folder=/none"], r"config\.data: /none: is not a folder"),
        (["data.classes=red"], "all images are of one class, 'red'"),
        (["data.classes=red,bleu"], "no class 'bleu'; did you mean 'blue'"),
        (["data.batch_size=1000"], "less than a batch of 1000"),
        (["model.patch_size=3"], "patch_size: 3 does not divide image_height"),
        (["model.num_classes=2"], "num_classes: 2 is less than the 3 classes"),
        (["data.mixup=-1"], r"config\.data\.mixup"),
        (["data.min_area=0"], r"config\.data\.min_area"),
        (["model.name=transformer-pico"], "transformer-pico is a model of texts"),
    ],
)
def test_bad_input(make_image_config, overrides, words):
    with pytest.raises(errors.RunError, match=words):
        job_lib.prepare(make_image_config(*overrides))


def test_other_bad_folders(make_image_config, image_folder, tmp_path):
    shutil.copytree(image_folder, tmp_path / "train")
    shutil.copytree(image_folder, tmp_path / "validation")
    shutil.rmtree(tmp_path / "validation" / "red")
    with pytest.raises(errors.RunError, match="the class 'red' is only in one of"):
        job_lib.prepare(make_image_config(f"data.folder={tmp_path}"))
    job_lib.prepare(
        make_image_config(f"data.folder={tmp_path}", "data.classes=green,blue")
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "train" / "loose.png")
    with pytest.raises(errors.RunError, match="is an image in the root"):
        job_lib.prepare(make_image_config(f"data.folder={tmp_path}"))


def test_a_model_of_images_is_refused_for_texts(make_config):
    with pytest.raises(errors.RunError, match=r"a model of images; use .*classify\.py"):
        job_lib.prepare(make_config("model.name=vit-S"))


def test_a_run_of_texts_is_no_start(make_image_config, make_config, tmp_path):
    text = tmp_path / "text"
    assert loop.train(job_lib.prepare(make_config("train_steps=2")), text)
    with pytest.raises(errors.RunError, match="was trained on texts, not images"):
        job_lib.prepare(make_image_config(f"initial.run={text}"))
