"""Finding the files of a release."""

import hashlib
import json

import pytest

from clinometer.tests.tools.released import hub
from clinometer.tools.released import errors
from clinometer.tools.released import release as release_lib


def test_a_folder_or_its_file(tmp_path, spiece):
    folder = hub.write(tmp_path / "r", hub.T5, hub.draw(hub.T5), spiece)
    by_file = release_lib.opened(folder / "model.safetensors")
    by_folder = release_lib.opened(folder)
    assert by_file.tensors.keys() == by_folder.tensors.keys()
    assert by_folder.vocabulary.size == 160
    digests = by_folder.digests()
    assert set(digests) == {"config.json", "model.safetensors", "spiece.model"}
    assert digests["spiece.model"] == hashlib.sha256(spiece).hexdigest()


def test_shards_are_read_and_named(tmp_path, spiece):
    drawn = hub.draw(hub.T5)
    folder = hub.write(tmp_path / "r", hub.T5, None, spiece)
    weight_map = {name: f"{len(name) % 2}.safetensors" for name in drawn}
    for file in set(weight_map.values()):
        part = {n: x for n, x in drawn.items() if weight_map[n] == file}
        (folder / file).write_bytes(hub.packed(*hub.header(part)))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    opened = release_lib.opened(folder)
    assert opened.tensors.keys() == drawn.keys()
    assert {"0.safetensors", "1.safetensors", index.name} < opened.digests().keys()


def test_the_vocabulary_can_be_elsewhere(tmp_path, spiece):
    folder = hub.write(tmp_path / "r", hub.T5, hub.draw(hub.T5), spiece)
    (folder / "spiece.model").rename(tmp_path / "other.model")
    with pytest.raises(errors.ReleaseError, match=r"spiece.model: .*--vocabulary"):
        release_lib.opened(folder)
    opened = release_lib.opened(folder, tmp_path / "other.model")
    assert opened.vocabulary_file.name == "other.model"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), "config.json: there is no"),
        (
            lambda folder: (folder / "spiece.model").write_bytes(b"x"),
            "spiece.model': Not a SentencePiece model",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (
            lambda folder: (folder / "config.json").write_text(
                json.dumps({**hub.T5, "vocab_size": 150})
            ),
            "has 160 ids with its sentinels, but vocab_size in config.json is 150",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path, spiece, change, message):
    folder = hub.write(tmp_path / "r", hub.T5, hub.draw(hub.T5), spiece)
    change(folder)
    with pytest.raises(errors.ReleaseError) as raised:
        release_lib.opened(folder)
    assert message in str(raised.value)


def test_other_paths(tmp_path, spiece):
    with pytest.raises(errors.ReleaseError, match="there is no such file or folder"):
        release_lib.opened(tmp_path / "nowhere")
    folder = hub.write(tmp_path / "r", hub.T5, None, spiece)
    (folder / "model.ckpt").touch()
    with pytest.raises(errors.ReleaseError, match=r"accepted: a file that ends in \.s"):
        release_lib.opened(folder / "model.ckpt")
