"""What we export loads in `transformers` and gives the same logits and tokens."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from clinometer.data.store import vocabulary
from clinometer.tests.tools.released import exporting
from clinometer.tests.tools.released import hub
from clinometer.tests.tools.released.peer import models_there as there
from clinometer.tools import cli

GATED = {**hub.T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


@pytest.fixture(scope="module", params=["tied", "untied and gated", "switch"])
def folders(request, tmp_path_factory, spiece):
    """Returns a run that was trained for a step, and its export."""
    folder = tmp_path_factory.mktemp("export")
    config = {"tied": hub.T5, "switch": hub.SWITCH}.get(request.param, GATED)
    drawn = {name: 0.3 * x for name, x in hub.draw(config).items()}
    if config is GATED:
        drawn["lm_head.weight"] = drawn["shared.weight"][::-1].copy()
    release = hub.write(folder / "release", config, drawn, spiece)
    trained = exporting.trained(exporting.converted(release, folder / "run"))
    command = ["export", str(trained.run), "--to", str(folder / "hub")]
    assert cli.main(command) == 0
    return trained, folder / "hub"


def test_it_loads_whole_with_the_same_logits(folders):
    trained, folder = folders
    loaded, info = there.transformers.AutoModelForSeq2SeqLM.from_pretrained(
        folder, output_loading_info=True, attn_implementation="eager"
    )
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys"))
    assert not info["mismatched_keys"]
    inputs, decoder = map(jnp.asarray, there.tokens())
    got = np.asarray(jax.jit(trained.model.apply)(trained.params, inputs, decoder))
    want = there.logits(loaded.eval())
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_its_tokenizer_gives_our_tokens(folders, spiece):
    _, folder = folders
    tokenizer = there.transformers.AutoTokenizer.from_pretrained(folder)
    ours = vocabulary.Vocabulary(spiece)
    text = "abc defgh <extra_id_0> ijk"
    assert tokenizer(text)["input_ids"] == [
        *ours.encode(text, parse_sentinels=True),
        ours.eos_id,
    ]
