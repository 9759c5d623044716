"""Writes a run as files that others load: those of the hub, or our own safetensors.

An architecture that Hugging Face does not have is written under our names: the tensor
`MODULE/NAME` is `params[MODULE][NAME]`, and `config.json` has what `models.build`
takes.
"""

from collections.abc import Mapping
import json
import os
import pathlib
import shutil
from typing import Any

import jax
import numpy as np

import clinometer
from clinometer import models
from clinometer.kernels.switch import expert_capacity
from clinometer.tools.released import errors
from clinometer.tools.released import hf_config
from clinometer.tools.released import model_card
from clinometer.tools.released import release as release_lib
from clinometer.tools.released import study_line
from clinometer.tools.released import tensor_names
from clinometer.tools.released.readers import safetensors_file
from clinometer.tools.released.readers import tensor
from clinometer.train import errors as train_errors
from clinometer.train import initial
from clinometer.train import sources
from clinometer.train import state as state_lib
from clinometer.train.run import directory as run_directory
from clinometer.train.run import record as run_record
from clinometer.train.run import store_search

HUB = "hf"
OWN = "clinometer"  # Also the `model_type` in the config.
FORMATS = (HUB, OWN)
WEIGHTS = "model.safetensors"
CARD = "README.md"


def write(
    run: pathlib.Path,
    folder: pathlib.Path,
    *,
    form: str = HUB,
    step: int | None = None,
    store: str | None = None,
) -> list[str]:
    """Writes a checkpoint of a run to a new folder.

    Args:
        run: the run directory.
        folder: the folder, which must not exist.
        form: one of `FORMATS`; `HUB` is `OWN` for a model that is not there.
        step: step of the checkpoint; None for the newest.
        store: token store of the run, if it was moved without it.

    Returns:
        What a user of the files must know, in sentences.

    Raises:
        RunError: there is no such run or checkpoint, or it cannot be read.
        ReleaseError: the folder exists or cannot be written.
    """
    if os.path.lexists(folder):
        raise errors.ReleaseError(f"--to: {folder} exists; give a new folder")
    record = initial.read_record(run)
    if record.kind == run_record.CLASSIFICATION:
        raise errors.ReleaseError(f"{run} is a model of images; accepted: of texts")
    model, optimizer = initial.built(record)
    vocabulary = sources.open_store(store_search.of_run(record, run, store)).vocabulary
    reader = run_directory.RunDirectory(run).checkpoints(read_only=True)
    chosen = step if step is not None else max(reader.steps, default=None)
    if chosen not in reader.steps:
        listed = ", ".join(map(str, reader.steps)) or "none"
        which = "" if step is None else f" of step {step}"
        raise train_errors.ConfigError(
            f"--step: {run} has no checkpoint{which}; it has {listed}"
        )
    abstract = jax.eval_shape(lambda: state_lib.initialise(model, optimizer, seed=0))
    params = models.unstack_params(
        reader.read(chosen, abstract._replace(optimizer={})).params
    )
    lacks = unheld(model)
    is_hub = form == HUB and lacks is None
    length = record.config.data.encoder_length or record.counts.encoder_length or 512
    if is_hub:
        contents, remarks = _hub_config(model, length)
        tensors = _hub_tensors(model, params)
    else:
        contents, tensors = _own_config(record), _own_tensors(params)
        remarks = ["The files have Clinometer's own names, see its tools/README.md."]
        if lacks is not None:
            remarks.insert(0, f"`transformers` does not have this model: {lacks}.")
    facts = model_card.Facts(
        run=run.resolve().name,
        step=chosen,
        is_hub=is_hub,
        remarks=remarks,
        study=study_line.find(run, record.model.partition("-")[0]),
    )
    texts = {
        hf_config.FILE: _json(contents),
        CARD: model_card.text(record, facts),
        "tokenizer_config.json": _json(_tokenizer(length)),
    }
    if is_hub:
        texts["generation_config.json"] = _json(_GENERATION)
    _write(folder, texts, vocabulary.model, tensors)
    return remarks


def _write(
    folder: pathlib.Path,
    texts: Mapping[str, str],
    vocabulary: bytes,
    tensors: Mapping[str, tensor.Tensor],
) -> None:
    """Writes the files to a folder beside `folder`, which is then renamed."""
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        for name, content in texts.items():
            (partial / name).write_text(content, encoding="utf-8")
        (partial / release_lib.VOCABULARY).write_bytes(vocabulary)
        metadata = {"format": "pt"}  # `transformers` wants it.
        safetensors_file.write(partial / WEIGHTS, tensors, metadata)
        partial.rename(folder)
    except OSError as error:
        raise errors.ReleaseError(
            f"--to: {folder} cannot be written: {error}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def unheld(model: models.EncoderDecoder) -> str | None:
    """Returns why Hugging Face's models cannot hold a model, or None if they can."""
    config, architecture = model.config, model.name.partition("-")[0]
    if architecture not in (hf_config.VANILLA, hf_config.GATED, hf_config.SPARSE):
        return f"there is no {architecture}"
    if config.norm != "rms":
        return f"its norm is {config.norm!r}"
    if config.ffn_activation not in hf_config.activations():
        return f"its ffn_activation is {config.ffn_activation!r}"
    if architecture == hf_config.SPARSE and config.logits_scaling != "tied":
        return f"its logits_scaling is {config.logits_scaling!r}"
    return None


def _hub_config(
    model: models.EncoderDecoder, length: int
) -> tuple[dict[str, Any], list[str]]:
    """Returns the `config.json`, and what it cannot say."""
    config, remarks, capacity = model.config, [], 0
    if hasattr(config, "num_experts"):
        capacity = expert_capacity(
            length, config.num_experts, config.eval_capacity_factor, config.min_capacity
        )
        if (config.sequences_per_group, config.min_capacity) != (1, capacity):
            remarks.append(
                f"Each expert takes {capacity} tokens of a row, the capacity of "
                f"evaluation for a row of {length}; `transformers` has no capacity "
                "factor, so that other lengths drop other tokens than in Clinometer."
            )
    if config.kv_heads != config.num_heads:
        remarks.append(
            "All heads of a group share keys and values (SH); the files hold a copy "
            "for each head, which `transformers` would train apart."
        )
    if config.shared_kv:
        remarks.append(
            "Keys and values are tied (SKV); the files hold both, which `transformers` "
            "would train apart."
        )
    return hf_config.written(model, capacity), remarks


def _hub_tensors(
    model: models.EncoderDecoder, params: models.model.Params
) -> dict[str, tensor.Tensor]:
    tensors: dict[str, tensor.Tensor] = {}
    for leaf in tensor_names.leaves(model.config):
        tensors |= leaf.to_theirs(np.asarray(params[leaf.module][leaf.name]))
    return dict(sorted(tensors.items()))


def _own_config(record: run_record.Record) -> dict[str, Any]:
    return {
        "model_type": OWN,
        "clinometer_version": clinometer.__version__,
        "model": record.model,
        "overrides": record.config.model.overrides,
    }


def _own_tensors(params: models.model.Params) -> dict[str, tensor.Tensor]:
    arrays = {
        f"{module}/{name}": np.asarray(array)
        for module, leaves in params.items()
        for name, array in leaves.items()
    }
    return {
        name: tensor.Tensor(array.shape, "float32", lambda array=array: array)
        for name, array in sorted(arrays.items())
    }


_GENERATION = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}


def _tokenizer(length: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "T5Tokenizer",
        "extra_ids": 100,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "model_max_length": length,
    }


def _json(contents: Mapping[str, Any]) -> str:
    return json.dumps(contents, indent=2, sort_keys=True) + "\n"
