"""`clinometer export`: what was converted comes out, bit for bit."""

import json

import jax
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.tools.released import exporting
from clinometer.tests.tools.released import hub
from clinometer.tools import cli
from clinometer.tools.released import exported
from clinometer.tools.released.readers import safetensors_file


@pytest.fixture(scope="module")
def trained(tmp_path_factory, spiece):
    """A run of d 32 with 3 heads of 8, 3 encoder and 1 decoder layers."""
    folder = tmp_path_factory.mktemp("export")
    release = hub.write(folder / "release", hub.T5, hub.draw(hub.T5), spiece)
    return exporting.trained(exporting.converted(release, folder / "run"))


def export(trained, folder, *options):
    command = ["export", str(trained.run), "--to", str(folder), *options]
    assert cli.main(command) == 0
    found = safetensors_file.read(folder / "model.safetensors")
    return {name: tensor.read() for name, tensor in found.items()}


def test_a_round_trip_is_bit_exact(trained, tmp_path, spiece):
    got = export(trained, tmp_path / "out", "--step", "0")
    want = hub.draw(hub.T5)
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].tobytes() == array.tobytes(), name
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["T5ForConditionalGeneration"]
    assert {name: config[name] for name in hub.T5} == hub.T5
    assert (tmp_path / "out" / "spiece.model").read_bytes() == spiece
    tokenizer = json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    assert tokenizer["tokenizer_class"] == "T5Tokenizer"


def test_after_a_training_step_every_tensor_differs(trained, tmp_path):
    got = export(trained, tmp_path / "out")
    want = hub.draw(hub.T5)
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert not np.array_equal(got[name], array), name
    table = np.asarray(trained.params["token_embedding"]["table"])
    np.testing.assert_array_equal(got["shared.weight"], table)


def test_the_card_says_where_it_is_from(trained, tmp_path):
    export(trained, tmp_path / "out", "--step", "0")
    card = (tmp_path / "out" / "README.md").read_text()
    total = sum(array.size for array in hub.draw(hub.T5).values())
    assert f"| parameters | {total:,} |" in card
    assert "from the run `run` at step 0" in card
    assert "converted from these files" in card


def test_our_own_names(trained, tmp_path, capsys):
    got = export(trained, tmp_path / "out", "--format", "clinometer")
    assert "own names, see its tools/README.md" in capsys.readouterr().out
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "clinometer"
    model = models.build(config["model"], **config["overrides"])
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    want = {
        f"{m}/{n}": a.shape for m, leaves in shapes.items() for n, a in leaves.items()
    }
    assert {name: array.shape for name, array in got.items()} == want
    np.testing.assert_array_equal(
        got["decoder/layer_0/cross_attention/key"],
        trained.params["decoder/layer_0/cross_attention"]["key"],
    )


@pytest.mark.parametrize(
    ("name", "overrides", "reason"),
    [
        ("transformer-pico", {}, None),
        ("transformer-SH-SKV-pico", {}, None),
        ("glu-pico", {"tie_embeddings": False}, None),
        ("switch-pico", {}, None),
        ("lconv-pico", {}, "there is no lconv"),
        ("transformer-pico", {"norm": "layer"}, "its norm is 'layer'"),
        ("glu-pico", {"ffn_activation": "gated-linear"}, "its ffn_activation is"),
        ("switch-pico", {"logits_scaling": "never"}, "its logits_scaling is"),
    ],
)
def test_what_hugging_face_can_hold(name, overrides, reason):
    found = exported.unheld(models.build(name, **overrides))
    assert found is None if reason is None else found.startswith(reason)


def test_shared_heads_and_capacities_are_remarked():
    shared = models.build("transformer-SH-SKV-pico")
    _, remarks = exported._hub_config(shared, 128)
    assert [word in " ".join(remarks) for word in ("(SH)", "(SKV)")] == [True, True]
    switch = models.build("switch-pico", eval_capacity_factor=2.0)
    config, remarks = exported._hub_config(switch, 128)
    assert config["expert_capacity"] == 32  # Twice 128 tokens over 8 experts.
    assert "32 tokens of a row" in remarks[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to", "{run}"], "exists; give a new folder"),
        (["--to", "{tmp}/out", "--step", "7"], "has no checkpoint of step 7; it has 0"),
    ],
)
def test_bad_input_writes_nothing(trained, tmp_path, options, message, capsys):
    options = [text.format(run=trained.run, tmp=tmp_path) for text in options]
    assert cli.main(["export", str(trained.run), *options]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
