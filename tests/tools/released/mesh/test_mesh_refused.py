"""What does not fit is told, all of it, and nothing is written."""

import numpy as np
import pytest

from clinometer.tests.tools.released.mesh import bucket
from clinometer.tools import cli

STEP = 1000


@pytest.fixture
def folder(tmp_path, spiece):
    """Returns a release without checkpoints."""
    made = tmp_path / "bi_v1_pico"
    made.mkdir()
    (made / "operative_config.gin").write_text(bucket.gin())
    (made / "spiece.model").write_bytes(spiece)
    return made


def refused(folder, capsys, source=None):
    """Converts and returns what is said on standard error."""
    run = folder.parent / "run"
    source = str(source or folder)
    assert cli.main(["convert", "--from", source, "--to", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("clinometer convert: ")
    assert "Traceback" not in said
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    return said


def test_every_variable_that_does_not_fit(folder, capsys):
    variables = bucket.draw(bucket.shapes(tied=False))
    layer = "encoder/block_002/layer_001/DenseReluDense"
    variables[f"{layer}/wi/kernel"] = np.zeros((32, 50), np.float32)
    del variables["decoder/final_layer_norm/scale"]
    variables["encoder/block_003/layer_000/layer_norm/scale"] = np.ones(32, np.float32)
    variables["encoder/block_000/layer_001/MoE1D/gate"] = np.ones((2, 3), np.float32)
    bucket.save(folder, variables, STEP)
    said = refused(folder, capsys)
    assert "operative_config.gin, which is transformer-EL3-DL1" in said
    assert "5 problems" in said
    for line in (
        f"{layer}/wi/kernel is [32, 50]; expected [32, 48]",
        "decoder/final_layer_norm/scale is missing; expected [32]",
        "decoder/logits/kernel is [32, 256]; expected no such tensor",
        "encoder/block_003/layer_000/layer_norm/scale is [32]; expected no such tensor",
        "encoder/block_000/layer_001/MoE1D/gate is [2, 3]; expected no such tensor",
    ):
        assert line in said


def test_shapes_of_another_config(folder, capsys):
    text = bucket.gin().replace("num_heads = 3", "num_heads = 4")
    (folder / "operative_config.gin").write_text(text)
    bucket.save(folder, bucket.draw(bucket.shapes()), STEP)
    said = refused(folder, capsys)
    place = "decoder/block_000/layer_001/EncDecAttention"
    assert f"{place}/o is [24, 32]; expected [32, 32]" in said
    assert f"{place}/k is [32, 24]; expected [32, 32]" in said
    assert "relative_attention_bias is [3, 32]; expected [4, 32]" in said


def test_no_table(folder, capsys):
    variables = bucket.draw(bucket.shapes())
    del variables["shared/embedding"]
    bucket.save(folder, variables, STEP)
    assert "shared/embedding is missing; expected [256, 32]" in refused(folder, capsys)


def test_no_gin(folder, capsys):
    bucket.save(folder, bucket.draw(bucket.shapes()), STEP)
    (folder / "operative_config.gin").unlink()
    assert "operative_config.gin: there is no such file" in refused(folder, capsys)


def test_no_checkpoints(folder, capsys):
    assert "has no checkpoints; accepted: model.ckpt-STEP" in refused(folder, capsys)


def test_a_step_that_is_not_there(folder, capsys):
    bucket.save(folder, bucket.draw(bucket.shapes()), STEP)
    missing = folder / "model.ckpt-2000.index"
    assert "there is no such file" in refused(folder, capsys, missing)


def test_missing_data(folder, capsys):
    bucket.save(folder, bucket.draw(bucket.shapes()), STEP)
    data = folder / f"model.ckpt-{STEP}.data-00000-of-00001"
    data.rename(folder / f"model.ckpt-{STEP}.data-00000-of-00002")
    said = refused(folder, capsys)
    assert f"but not model.ckpt-{STEP}.data-00001-of-00002" in said


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
def test_truncated_files(folder, capsys, part):
    bucket.save(folder, bucket.draw(bucket.shapes()), STEP)
    path = folder / f"model.ckpt-{STEP}.{part}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert f"model.ckpt-{STEP}.index: " in refused(folder, capsys)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("= 'bias_shared'", "= 'bias'", "relative_attention_type is 'bias'"),
        ("= 'relu'", "= ['gelu', 'relu']", "accepted: relu, gelu, swish, or a list"),
        ("= 'relu'", "= %nothing", "the macro %nothing has no value"),
        ("num_layers = 3\n", "\n", "not a gin file"),
        ("d_model = %d_model", "d_models = 3", "Unitransformer.d_model is missing"),
        ("d_ff = 48", "d_ff = -48", "d_ff"),
        ("DenseReluDense]", "MoE1D]", "accepted: SelfAttention, DenseReluDense"),
        ("sublayer_residual]", "sublayer_rezero]", "rms_norm, call_layer, residual"),
        ("epsilon = 1e-06", "epsilon = 1e-05", "is 1e-05; accepted: 1e-06"),
        ("heads = 0", "heads = 2", "num_memory_heads is 2; accepted: 0, 1 or"),
        ("kv = False", "kv = 'no'", "shared_kv is 'no'; accepted: True or False"),
        (
            "encoder/DenseReluDense.hidden_size = %d_ff",
            "encoder/DenseReluDense.hidden_size = 50",
            "hidden_size is 50 in the encoder and 48 in the decoder",
        ),
        (
            "decoder/EncDecAttention.relative_attention_type = None",
            "decoder/EncDecAttention.num_heads = 1",
            "decoder/EncDecAttention.num_heads is 1; accepted: 3",
        ),
    ],
)
def test_another_model(folder, capsys, old, new, told):
    bucket.save(folder, bucket.draw(bucket.shapes()), STEP)
    text = bucket.gin()
    assert old in text
    (folder / "operative_config.gin").write_text(text.replace(old, new))
    said = refused(folder, capsys)
    assert told in said
    assert "operative_config.gin" in said
