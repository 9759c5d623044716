"""Checkpoints of TensorFlow become the runs that the same weights on the hub become."""

import jax
import jax.numpy as jnp
from ml_collections import config_dict
import numpy as np
import pytest

from clinometer.tests.tools.released import hub
from clinometer.tests.tools.released.mesh import bucket
from clinometer.tools import cli
from clinometer.tools.released import mesh_release
from clinometer.tools.released import parameters
from clinometer.tools.released import release as release_lib
from clinometer.train import initial
from clinometer.train import state as state_lib
from clinometer.train.run import directory as run_directory

T5 = {**hub.T5, "vocab_size": 256}
V11 = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
# name -> (variables, gin, config.json, name here)
CASES = {
    "1.0": ({}, {}, T5, "transformer-EL3-DL1-KV8-NH3-FF48-PI"),
    "1.1": (
        {"gated": True, "tied": False},
        {"activation": ["gelu", "linear"], "tied": False},
        V11,
        "glu-EL3-DL1-KV8-NH3-FF48-PI",
    ),
    # Later versions of the library name norms so.
    "rms_norm": (
        {"norm": "rms_norm", "final_norm": "rms_norm"},
        {},
        T5,
        "transformer-EL3-DL1-KV8-NH3-FF48-PI",
    ),
    "shared heads": (
        {"memory_heads": 1},
        {"memory_heads": 1},
        T5,
        "transformer-EL3-DL1-KV8-NH3-FF48-SH-PI",
    ),
    "tied keys and values": (
        {"shared_kv": True},
        {"shared_kv": True},
        T5,
        "transformer-EL3-DL1-KV8-NH3-FF48-SKV-PI",
    ),
}


def on_the_hub(variables, case):
    """Returns the tensors that a release on the hub has."""
    plain = {}
    for name, array in variables.items():
        name = name.replace("rms_norm", "layer_norm")
        for side in ("encoder", "decoder"):
            if name == f"{side}/layer_norm/scale":
                name = f"{side}/final_layer_norm/scale"
        if case == "shared heads" and name[-2:] in ("/k", "/v"):
            array = np.tile(array, (1, 3))
        stem, last = name[:-2], name[-2:]
        for each in (f"{stem}k", f"{stem}v") if last == "kv" else (name,):
            plain[each] = array
    return bucket.hub_tensors(plain)


def made(releases):
    """Returns the model of each checkpoint, and its parameters."""
    for found in parameters.of_all(releases):
        params = {}
        for leaf, values in found.values():
            params.setdefault(leaf.module, {})[leaf.name] = values
        yield found, params


@pytest.mark.parametrize("case", CASES)
def test_parameters_are_those_of_the_hub(case, tmp_path, spiece):
    of_shapes, of_gin, config, name = CASES[case]
    variables = bucket.draw(bucket.shapes(**of_shapes))
    folder = tmp_path / "bi_v1_pico"
    bucket.save(folder, variables | bucket.slots(variables), 1000)
    (folder / "operative_config.gin").write_text(bucket.gin(**of_gin))
    (folder / "spiece.model").write_bytes(spiece)
    peer = hub.write(tmp_path / "hub", config, on_the_hub(variables, case), spiece)
    ((found, params),) = made(mesh_release.opened(folder))
    ((expected, wanted),) = made([release_lib.opened(peer)])
    assert found.name == expected.name == name
    assert found.overrides == expected.overrides
    for module, leaf in ((m, n) for m, leaves in wanted.items() for n in leaves):
        np.testing.assert_array_equal(params[module][leaf], wanted[module][leaf])
    assert jax.tree.structure(params) == jax.tree.structure(wanted)


@pytest.fixture(scope="module")
def converted(tmp_path_factory, spiece):
    """Returns the variables of three steps, and the run made of them."""
    folder = tmp_path_factory.mktemp("bucket") / "bi_v1_pico_law"
    steps = {}
    for step in (524288, 100000, 200000):
        steps[step] = bucket.draw(bucket.shapes(), seed=step)
        bucket.save(folder, steps[step] | bucket.slots(steps[step]), step)
    (folder / "operative_config.gin").write_text(bucket.gin())
    tokens = folder.parent / "sentencepiece.model"
    tokens.write_bytes(spiece)
    run = folder.parent / "run"
    command = ["convert", "--from", str(folder), "--to", str(run)]
    assert cli.main([*command, "--vocabulary", str(tokens)]) == 0
    return steps, run


def test_all_steps_are_checkpoints_of_one_run(converted):
    steps, run = converted
    record = initial.read_record(run)
    model, optimizer = initial.built(record)
    state = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, 0))
    reader = run_directory.RunDirectory(run).checkpoints(read_only=True)
    assert reader.steps == sorted(steps)
    for step, variables in steps.items():
        read = reader.read(step, state._replace(optimizer={}))
        assert int(read.step) == step
        module = read.params["decoder/layer_0/cross_attention"]
        place = "decoder/block_000/layer_001/EncDecAttention"
        np.testing.assert_array_equal(module["query"], variables[f"{place}/q"])
        table = read.params["decoder/relative_bias"]["table"]
        bias = "decoder/block_000/layer_000/SelfAttention/relative_attention_bias"
        np.testing.assert_array_equal(table, variables[bias])


def test_the_record_says_what_it_is(converted):
    steps, run = converted
    record = initial.read_record(run)
    assert record.converted.format == "mesh-tensorflow"
    assert record.converted.config["encoder/make_layer_stack.num_layers"] == 3
    assert record.converted.config["decoder/SelfAttention.num_heads"] == 3
    for step in steps:
        data = f"model.ckpt-{step}.data-00000-of-00001"
        assert {data, f"model.ckpt-{step}.index"} < record.converted.files.keys()
    assert record.counts.params_total == sum(
        np.prod(shape) for shape in bucket.shapes().values()
    )


def test_runs_start_from_any_step(converted):
    steps, run = converted
    record = initial.read_record(run)
    config = {"run": str(run), "branch": False, "optimizer_slots": "reset"}
    for step in steps:
        found = initial.find(
            config_dict.ConfigDict({**config, "step": step}),
            *initial.built(record),
            record.data.vocabulary_sha256,
        )
        assert found.step == step


def test_logits_are_those_of_the_hub(converted, tmp_path, spiece):
    """Through the files of both runs."""
    steps, run = converted
    tensors = bucket.hub_tensors(steps[524288])
    peer = hub.write(tmp_path / "hub", T5, tensors, spiece)
    other = tmp_path / "run"
    assert cli.main(["convert", "--from", str(peer), "--to", str(other)]) == 0
    rng = np.random.default_rng(0)
    tokens = jnp.asarray(rng.integers(3, 160, size=(2, 12)))

    def logits(path):
        model, optimizer = initial.built(initial.read_record(path))
        state = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, 0))
        reader = run_directory.RunDirectory(path).checkpoints(read_only=True)
        read = reader.read(max(reader.steps), state._replace(optimizer={}))
        return jax.jit(model.apply)(read.params, tokens, tokens[:, :7])

    got, wanted = logits(run), logits(other)
    np.testing.assert_array_equal(got, wanted)
    assert float(jnp.std(wanted)) > 0.1
