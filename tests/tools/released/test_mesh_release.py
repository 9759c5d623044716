"""Folders of Mesh-TensorFlow, where TensorFlow is not installed."""

import importlib.util

import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools import cli
from clinometer.tools.released import errors
from clinometer.tools.released import mesh_release
from clinometer.tools.released.readers import tensorflow_file


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_its_folders_are_told_from_those_of_the_hub(tmp_path, spiece):
    mine = touch(tmp_path / "mine", "model.ckpt-100.index")
    assert mesh_release.fits(mine)
    assert mesh_release.fits(mine / "model.ckpt-100.index")
    assert mesh_release.fits(touch(tmp_path / "bare", "operative_config.gin"))
    theirs = hub.write(tmp_path / "hub", hub.T5, hub.draw(hub.T5), spiece)
    assert not mesh_release.fits(theirs)
    assert not mesh_release.fits(theirs / "model.safetensors")


def test_steps_ascend_and_are_those_that_are_there(tmp_path):
    names = ["model.ckpt-524288.index", "model.ckpt-100000.index", "x.index", "a-b"]
    found = tensorflow_file.steps(touch(tmp_path / "folder", *names))
    assert [(step, path.name) for step, path in found.items()] == [
        (100000, "model.ckpt-100000.index"),
        (524288, "model.ckpt-524288.index"),
    ]


def test_two_checkpoints_of_a_step(tmp_path):
    folder = touch(tmp_path / "folder", "a-10.index", "b-10.index")
    with pytest.raises(errors.ReleaseError, match="a-10.index and b-10.index"):
        tensorflow_file.steps(folder)


def test_all_shards_must_be_there(tmp_path):
    shards = [f"model.ckpt-5.data-0000{part}-of-00003" for part in (0, 2)]
    folder = touch(tmp_path / "folder", "model.ckpt-5.index", *shards)
    with pytest.raises(errors.ReleaseError, match="not model.ckpt-5.data-00001-of"):
        tensorflow_file.files(folder / "model.ckpt-5.index")
    (folder / shards[0].replace("00000-of", "00001-of")).touch()
    found = tensorflow_file.files(folder / "model.ckpt-5.index")
    assert [path.name[-14:] for path in found[1:]] == [
        f"0000{part}-of-00003" for part in range(3)
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is not None, reason="TensorFlow is here"
)
def test_what_to_install_is_told(tmp_path, spiece, capsys):
    folder = touch(
        tmp_path / "bi_v1_pico",
        "operative_config.gin",
        "model.ckpt-5.index",
        "model.ckpt-5.data-00000-of-00001",
    )
    (folder / "spiece.model").write_bytes(spiece)
    run = tmp_path / "run"
    assert cli.main(["convert", "--from", str(folder), "--to", str(run)]) == 2
    said = capsys.readouterr().err
    assert "make setup-mesh-tf" in said
    assert "clinometer[mesh-tf]" in said
    assert not run.exists()
