"""End-to-end tests of `clinometer generate` on a small run."""

import itertools
import json
import re
import shutil

import jax
import numpy as np
import pytest
from scipy import special

from clinometer.train import main as train
from clinometer.train import trained
from clinometer.train.generation import main
from clinometer.train.generation import prompts
from clinometer.train.sharding import mesh as mesh_lib

_PROMPTS = ("abcde <extra_id_0> fghij", "klm")


@pytest.fixture(scope="module")
def run(arguments, tmp_path_factory):
    """A run of 2 steps; must not be modified."""
    workdir = tmp_path_factory.mktemp("pretrained") / "run"
    short = ("train_steps=2", "checkpoint.every_steps=2", "log.health_every_steps=0")
    assert train.main([*arguments(*short), f"--workdir={workdir}"]) == 0
    return workdir


def generated(capsys, run, *argv):
    """Returns what `--json` prints."""
    assert main.main([str(run), *argv, "--max-length=6", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def likelihood(opened, params, output):
    """Returns the log-likelihood of an output, in float64 after one forward pass."""
    (inputs,) = prompts.tokens(prompts.given([output["prompt"]]), opened.vocabulary, 32)
    targets = output["tokens"]
    logits = opened.model.apply(
        params,
        inputs[None].astype(np.int32),
        np.array([[0, *targets[:-1]]], np.int32),
        # A model with hardly any training decodes the start token, which is padding.
        decoder_segment_ids=np.ones((1, len(targets)), np.int32),
    )
    logits = np.asarray(logits, np.float64)[0, :, : opened.vocabulary.size]
    log_probs = special.log_softmax(logits, axis=-1)
    return log_probs[np.arange(len(targets)), targets].sum()


def test_methods_decode_prompts_with_the_likelihoods_of_the_model(run, capsys):
    opened = trained.open_run(run)
    placed = opened.place(jax.device_count(), {})
    with mesh_lib.shard_over(placed.mesh):
        params = opened.parameters(2, placed)
    sampled = ("--decoding=sample", "--num-samples=4", "--temperature=0.7")
    methods = {
        "greedy": (),
        "beam": ("--decoding=beam", "--beam-size=3", "--length-penalty=2"),
        "sample": sampled,
    }
    for method, argv in methods.items():
        found = generated(capsys, run, *_PROMPTS, *argv)
        assert (found["step"], found["decoding"]) == (2, method)
        count = 4 if method == "sample" else 1
        assert [(o["prompt"], o["sample"]) for o in found["outputs"]] == [
            (prompt, sample) for prompt in _PROMPTS for sample in range(count)
        ]
        for output in found["outputs"]:
            tokens = output["tokens"]
            assert output["ended"] == (tokens[-1] == 1) == (1 in tokens)
            assert output["ended"] or len(tokens) == 6
            text = itertools.takewhile(lambda token: token > 1, tokens)
            assert output["output"] == opened.vocabulary.decode(text)
            # Step by step in float32, as against the whole sequence.
            expected = likelihood(opened, params, output)
            assert output["log_likelihood"] == pytest.approx(expected, abs=1e-4)
    assert len({output["output"] for output in found["outputs"]}) > 2
    assert generated(capsys, run, *_PROMPTS, *sampled) == found
    other = generated(capsys, run, *_PROMPTS, *sampled, "--seed=1")
    assert other["outputs"] != found["outputs"]


def test_prompts_of_a_file_in_batches_give_the_same_text(
    run, capsys, tmp_path, monkeypatch
):
    found = generated(capsys, run, *_PROMPTS)["outputs"]
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(_PROMPTS) + "\n")
    # A model that fills the blank, as one that was trained for long does.
    monkeypatch.setattr(
        "clinometer.data.store.vocabulary.Vocabulary.decode",
        lambda self, ids: "<extra_id_0> xyz",
    )
    argv = [str(run), f"--file={path}", "--batch-size=1", "--max-length=6"]
    assert main.main(argv) == 0
    shown = [text.splitlines() for text in capsys.readouterr().out.split("\n\n")]
    assert shown[0][:3] == [
        "prompt  abcde <extra_id_0> fghij",
        "filled  abcde xyz fghij",
        "output  <extra_id_0> xyz",
    ]
    assert [line.partition(" ")[0] for line in shown[1]] == ["prompt", "output", ""]
    for lines, output in zip(shown, found, strict=True):
        number, count = output["log_likelihood"], len(output["tokens"])
        assert lines[-1].startswith(
            f"        log-likelihood {number:.4f} nats, {count} t"
        )


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ((), "PROMPT: give prompts either as arguments or by --file"),
        (("a", "--file=x"), "PROMPT: give prompts either as arguments or by --file"),
        (("a", ""), "prompt 2: the prompt is empty"),
        (("<extra_id_100>",), "prompt 1: the vocabulary has no '<extra_id_100>'"),
        (("a b " * 40,), "prompt 1: [0-9]+ tokens .*; accepted: at most 32"),
        (("a", "--step=1"), "--step: .* has no checkpoint of step 1; it has 2"),
        (("a", "--temperature=0.5"), "--temperature: only with --decoding sample"),
        (("a", "--num-samples=2"), "--num-samples: only with --decoding sample"),
        (("a", "--beam-size=2"), "--beam-size: only with --decoding beam"),
        (
            ("a", "--decoding=beam", "--beam-size=201"),
            "--beam-size: must be at most 200, got 201",
        ),
        (("a", "--store=nowhere"), "--store: nowhere is not a token store"),
    ],
)
def test_bad_input_is_a_line(run, capsys, argv, message):
    assert main.main([str(run), *argv]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(f"clinometer generate: {message}.*\n", error), error


def test_a_run_without_checkpoints_and_no_run(run, capsys, tmp_path):
    assert main.main([str(tmp_path), "a"]) == 1
    assert "is not a run directory: it has no run.json" in capsys.readouterr().err
    shutil.copy(run / "run.json", tmp_path)
    assert main.main([str(tmp_path), "a"]) == 2
    assert "has no checkpoint; it has none" in capsys.readouterr().err
