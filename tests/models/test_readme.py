"""The README's example of a new architecture works as described."""

import re
import sys
import types

import jax
import numpy as np
import pytest

from clinometer import models
from clinometer.tests.models import every_architecture as every

ENCODER, DECODER = every.encoder_tokens(), every.decoder_tokens()


@pytest.fixture
def averaging(repo_root, monkeypatch):
    text = (repo_root / "models" / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(\"\"\".*?)```", text, re.DOTALL)[1]
    module = types.ModuleType("averaging")
    monkeypatch.setitem(sys.modules, "averaging", module)  # Dataclasses need it.
    exec(code, module.__dict__)
    monkeypatch.setitem(models.ARCHITECTURES, "averaging", module.ARCHITECTURE)
    return every.Example("averaging-pico", {"gain": 0.5})


def test_the_example_is_counted_and_decodes_as_it_is_taught(averaging):
    counted = models.counts.count(averaging.name, vocab_size=64, gain=0.5)
    model, params = averaging.build(), averaging.params()
    assert counted.params_total == sum(x.size for x in jax.tree.leaves(params))
    inputs = ENCODER.at[1, 8:].set(0)
    forced = jax.jit(model.apply)(params, inputs, DECODER)
    every.assert_decodes_as_taught(model, params, inputs, DECODER, forced)
    ranks = {m: {n: x.ndim for n, x in leaves.items()} for m, leaves in params.items()}
    axes = model.param_axes()
    assert ranks == {
        m: {n: len(names) for n, names in leaves.items()} for m, leaves in axes.items()
    }
    other = every.Example("averaging-pico", {"gain": 1.0}).build()
    assert not np.allclose(jax.jit(other.apply)(params, inputs, DECODER), forced)


def test_the_table_of_files_names_every_architecture(repo_root):
    text = (repo_root / "models" / "README.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)\.py` \| \[", text, re.MULTILINE)
    assert sorted(named) == sorted(models.ARCHITECTURES)
