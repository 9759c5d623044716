"""Tests the public API of tools/API.md: its names, its examples and their types."""

import ast
import contextlib
import importlib
import inspect
import io
import os
import pathlib
import random
import re
import subprocess
import sys

import jax
import numpy as np
import pytest

from clinometer import kernels
from clinometer import models
from clinometer.kernels import cost
from clinometer.models import decoding
from clinometer.models.architectures import registry
from clinometer.tests.tools.report import synthetic_study

_STRICT = ("--strict", "--follow-imports=silent", "--no-color-output")


def _page(repo_root) -> str:
    return (repo_root / "tools/API.md").read_text(encoding="utf-8")


def _names(repo_root) -> list[tuple[str, str]]:
    """Returns (module, name) of all rows of the tables of names."""
    rows = re.findall(r"^\| `([\w.]+)` \| (`.*`) \|$", _page(repo_root), re.MULTILINE)
    return [(row[0], name) for row in rows for name in re.findall(r"`(\w+)`", row[1])]


def _examples(repo_root) -> dict[str, str]:
    """Returns the code below each heading."""
    pattern = r"^### ([^\n]+)\n(?:(?!^#).)*?```python\n(.*?)```"
    return dict(re.findall(pattern, _page(repo_root), re.MULTILINE | re.DOTALL))


@pytest.fixture
def run(repo_root, tmp_path, monkeypatch):
    """Returns a function that runs an example; returns its names and its output."""
    monkeypatch.chdir(tmp_path)

    def run_example(heading: str) -> tuple[dict, list[str]]:
        names: dict = {"__name__": f"example_{len(sys.modules)}"}
        module = type(sys)(names["__name__"])  # Dataclasses look their module up.
        monkeypatch.setitem(sys.modules, module.__name__, module)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(_examples(repo_root)[heading], module.__dict__)
        return module.__dict__, printed.getvalue().splitlines()

    return run_example


def test_every_public_name_exists_and_is_documented(repo_root):
    listed = _names(repo_root)
    assert len(listed) == len(set(listed)) > 150
    for module, name in listed:
        found = getattr(importlib.import_module(module), name)
        if inspect.isfunction(found) or inspect.isclass(found):
            assert found.__doc__, name
    for package in (models, kernels, cost, decoding):
        ours = {name for module, name in listed if module == package.__name__}
        assert ours == set(package.__all__), package.__name__


def _untyped(function: ast.FunctionDef) -> list[str]:
    """Returns the arguments of a function that have no type, and "return"."""
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    arguments += filter(None, [given.vararg, given.kwarg])
    missing = [x.arg for x in arguments if x.annotation is None]
    missing = [name for name in missing if name not in ("self", "cls")]
    # Mypy knows what a constructor returns if one of its arguments has a type.
    if function.returns is None and (function.name != "__init__" or missing):
        missing.append("return")
    return missing


def untyped_in(source: str, name: str) -> list[str]:
    """Returns "function: argument" for what lacks a type in a public name."""
    found = []
    for node in ast.parse(source).body:
        if getattr(node, "name", None) != name:
            continue
        inside = node.body if isinstance(node, ast.ClassDef) else [node]
        for each in inside:
            if isinstance(each, ast.FunctionDef):
                public = not each.name.startswith("_") or each.name == "__init__"
                found += [f"{each.name}: {x}" for x in _untyped(each) if public]
    return found


def test_every_public_function_has_types(repo_root):
    assert (repo_root / "py.typed").is_file()
    found = {}
    for module, name in _names(repo_root):
        value = getattr(importlib.import_module(module), name)
        if inspect.isfunction(value) or inspect.isclass(value):
            value = inspect.unwrap(value)
            source = inspect.getsource(inspect.getmodule(value))
            if missing := untyped_in(source, value.__name__):
                found[f"{module}.{name}"] = missing
    assert found == {}


def test_a_missing_type_is_seen():
    source = "class A:\n def f(self, x, *, y: int = 0): ...\n def _g(self, z): ...\n"
    assert untyped_in(source, "A") == ["f: x", "f: return"]
    assert untyped_in("def g(x: int, **more) -> int: ...", "g") == ["g: more"]


@pytest.mark.slow
def test_mypy_accepts_the_examples_in_a_strict_file(repo_root, tmp_path):
    pytest.importorskip("mypy", reason="mypy is not installed")
    # The import hook of an editable install is nothing that mypy follows.
    (tmp_path / "clinometer").symlink_to(repo_root)
    files = []
    for number, code in enumerate(_examples(repo_root).values()):
        files.append(tmp_path / f"example_{number}.py")
        files[-1].write_text(code, encoding="utf-8")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from clinometer import kernels, models\n"
        "kernels.light_conv('x', None, causal=True)\n"
        "models.counts.count(3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *_STRICT, *files, wrong],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    *errors, summary = done.stdout.splitlines()
    assert [line.rpartition("[")[2] for line in errors] == ["arg-type]"] * 3, errors
    assert summary.startswith("Found 3 errors in 1 file"), summary


def test_a_project_that_trains(run):
    names, _ = run("A project that trains")
    network, tokens = names["network"], np.asarray(names["tokens"])
    params = network.init(jax.random.key(1), tokens)
    logits = np.asarray(network.apply(params, None, tokens)[:, :-1], float)
    logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
    picked = np.take_along_axis(logits, tokens[:, 1:, None], axis=-1)
    first, *_, last = names["losses"]
    np.testing.assert_allclose(first, -picked.mean(), rtol=1e-5)
    assert last < first


def test_a_module_in_a_haiku_model(run):
    names, printed = run("A module in your own Haiku model")
    assert printed == ["(2, 2)"]
    # Padding changes nothing, and neither does the other row.
    longer = np.pad(np.asarray(names["tokens"]), ((0, 0), (0, 2)))[1:]
    again = jax.jit(names["network"].apply)(names["params"], None, longer)
    np.testing.assert_allclose(again, names["logits"][1:], rtol=1e-5, atol=1e-6)


def test_an_architecture_from_outside(run, monkeypatch):
    monkeypatch.setattr(registry, "ARCHITECTURES", dict(registry.ARCHITECTURES))
    _, printed = run("An architecture of your own")
    activation, params = printed[0].split()
    assert activation == "gated-swish"
    config = registry.build("transformer-pico").config
    layers = config.num_encoder_layers + config.num_decoder_layers
    # A gated layer has a third matrix, [d, f].
    vanilla = models.counts.count("transformer-pico").params_total
    assert int(params) - vanilla == layers * config.d_model * config.d_ff


def test_a_kernel_in_plain_jax(run):
    names, printed = run("A kernel in plain JAX")
    query, key, value = (np.asarray(names[x], float) for x in ("query", "key", "value"))
    logits = np.einsum("bthd,bshd->bhts", query, key)
    logits = np.where(np.tril(np.ones((16, 16), bool)), logits, -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    mean = np.mean(np.einsum("bhts,bshd->bthd", weights, value) ** 2)
    np.testing.assert_allclose(names["loss"], mean, rtol=1e-5)
    assert printed[1:] == [
        "relative_attention forward cpu",
        "relative_attention backward cpu",
    ]


def test_a_kernel_in_a_training_loop(run):
    names, _ = run("A kernel in your own training loop")
    first, *_, last = names["losses"]
    x, y = (np.asarray(names[name], float) for name in ("x", "y"))
    padded = np.pad(x, ((0, 0), (2, 0), (0, 0)))
    hidden = sum(padded[:, k : k + 16] for k in range(3)) / 3
    np.testing.assert_allclose(first, np.mean((hidden - y) ** 2), rtol=1e-5)
    assert last < first


def test_flops_of_any_function(run):
    _, printed = run("FLOPs of any function")
    assert list(map(int, printed)) == [5 * 2 * 8 * 64 * 64, 3 * 5 * 2 * 8 * 64 * 64]


def test_from_text_to_batches(run, tmp_path, capsys):
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghij", k=5)) for _ in range(300)]
    (tmp_path / "corpus").mkdir()
    for i in range(40):
        text = ". ".join(" ".join(rng.choices(words, k=20)) for _ in range(15))
        (tmp_path / f"corpus/{i}.txt").write_text(text)
    names, _ = run("From text to batches")
    assert names["batch"]["encoder_input_tokens"].shape == (4, 32)
    assert set(re.findall("[a-j]{5}", names["text"])) & set(words)
    assert "tokens" in capsys.readouterr().err


def test_a_folder_of_runs(run, tmp_path):
    losses = {
        ("transformer", size, order, seed): 5 - 0.3 * i + 0.01 * ((3 * seed + i) % 5)
        for i, size in enumerate(synthetic_study.SIZES)
        for order in (1, 2)
        for seed in (1, 2)
    }
    synthetic_study.write_losses(tmp_path / "runs/mine", losses)
    names, printed = run("A folder of runs")
    ends = [
        np.mean([x for (_, s, _, _), x in losses.items() if s == size])
        for size in ("pico", "milli")
    ]
    np.testing.assert_allclose(names["gain"].value, ends[0] - ends[1], rtol=1e-9)
    assert len(printed) == 1 + len(losses) + 5 + 1


def test_the_page_names_every_heading_that_is_tested(repo_root):
    text = pathlib.Path(__file__).read_text(encoding="utf-8")
    tested = set(re.findall(r'run\("([^"]+)"\)', text))
    assert tested == set(_examples(repo_root))
