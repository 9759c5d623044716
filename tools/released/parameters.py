"""The parameters of a released model: which model it is here, and their values.

Tying, shared heads (SH) and tied keys and values (SKV) are read from the values of the
tensors, since configs do not tell them or tell them wrongly: `transformers` 5 writes
`tie_word_embeddings: true` for models whose `lm_head` is a matrix of its own.
"""

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
import dataclasses
from typing import Any

import numpy as np

from clinometer import models
from clinometer.tools.released import errors
from clinometer.tools.released import hf_config
from clinometer.tools.released import release as release_lib
from clinometer.tools.released import tensor_names
from clinometer.tools.released.readers import tensor

Tensors = Mapping[str, tensor.Tensor]


@dataclasses.dataclass(frozen=True)
class Found:
    """The model of a release.

    Attributes:
        name: name of our model.
        overrides: the other fields of its config.
        model: the model.
        leaves: its parameters, and the tensors that hold them.
        tensors: these tensors.
        notes: what the config does not say, in sentences for the record.
    """

    name: str
    overrides: Mapping[str, Any]
    model: models.EncoderDecoder
    leaves: tuple[tensor_names.Leaf, ...]
    tensors: Tensors
    notes: tuple[str, ...]

    def values(self) -> Iterator[tuple[tensor_names.Leaf, np.ndarray]]:
        """Yields the parameters one after the other, read from the files, float32."""
        for leaf in self.leaves:
            yield leaf, leaf.to_ours(self.tensors)


def found(release: release_lib.Release) -> Found:
    """Finds out which model a release is, and checks all its tensors.

    Args:
        release: the files.

    Raises:
        ReleaseError: names, shapes or values do not fit; lists all that don't, with
            what was expected.
    """
    tensors, notes, problems = dict(release.tensors), [], []
    for name in tensor_names.UNUSED:
        if tensors.pop(name, None):
            notes.append(f"{name} is in the files, but no model uses it.")
    tied = _one_table(tensors, release, notes, problems)
    plain = _model(release.config, tied)
    problems += _misfits(plain[-1], tensors, release.stored)
    if problems:
        fits = f"{release.config_file.name}, which is {plain[0]}"
        what = f"{release.weights[0]}: does not fit {fits}"
        raise errors.of_problems(what, problems)
    _, _, model, leaves = plain

    def equal_heads(key: np.ndarray, value: np.ndarray) -> bool:
        return all(_heads_equal(model, each) for each in (key, value))

    shared_heads = _every(leaves, equal_heads, tensors)
    shared_kv = _every(leaves, np.array_equal, tensors)
    if shared_heads:
        notes.append("All heads have the same keys and values (SH).")
    if shared_kv:
        notes.append("Keys and values are equal (SKV).")
    name, overrides, model, leaves = (
        _model(release.config, tied, shared_heads, shared_kv)
        if shared_heads or shared_kv
        else plain
    )
    if model.config.logits_scaling != "tied":
        notes.append(f"logits_scaling is {model.config.logits_scaling!r}.")
    dtypes = {tensors[source].dtype for leaf in leaves for source in leaf.sources}
    if dtypes != {"float32"}:
        notes.append(f"The files hold {', '.join(sorted(dtypes))}.")
    return Found(name, overrides, model, leaves, tensors, tuple(notes))


def _model(
    config: hf_config.Released,
    tied: bool,
    shared_heads: bool = False,
    shared_kv: bool = False,
) -> tuple[str, dict[str, Any], models.EncoderDecoder, tuple[tensor_names.Leaf, ...]]:
    name, overrides = hf_config.described(
        config, tied=tied, shared_heads=shared_heads, shared_kv=shared_kv
    )
    model = models.build(name, **overrides)
    return name, overrides, model, tuple(tensor_names.leaves(model.config))


def _one_table(
    tensors: dict[str, tensor.Tensor],
    release: release_lib.Release,
    notes: list[str],
    problems: list[str],
) -> bool:
    """Leaves one embedding table in `tensors`; returns whether the logits use it.

    Args:
        tensors: the tensors, of which copies of the table are removed.
        release: the release that has them.
        notes: gets a note if the head equals the table.
        problems: gets a problem for each other table.
    """
    places = (tensor_names.TABLE, *tensor_names.TABLE_COPIES)
    names = [name for name in places if name in tensors]
    if not names and release.tied is None and tensor_names.HEAD in tensors:
        # A file may hold only one of several names of the same tensor.
        names = [tensor_names.HEAD]
    if not names:
        return release.tied is not False  # `_misfits` says that there is no table.
    first, *others = names
    table = tensors.pop(first)
    for name in others:
        other = tensors.pop(name)
        if not _same(other, table):
            one, two = (release.stored(each, table.shape)[0] for each in (name, first))
            problems.append(
                f"{one} differs from {two}; expected equal tables, as encoder and "
                "decoder have one here"
            )
    tensors[tensor_names.TABLE] = table
    if release.tied is not None:
        return release.tied
    head = tensors.get(tensor_names.HEAD, table)
    tied = head.shape == table.shape and _same(head, table)
    if tied and tensors.pop(tensor_names.HEAD, None):
        notes.append(f"{tensor_names.HEAD} equals the embedding table.")
    return tied


def _misfits(
    leaves: tuple[tensor_names.Leaf, ...],
    tensors: Tensors,
    stored: Callable[[str, tuple[int, ...]], tuple[str, tuple[int, ...]]],
) -> list[str]:
    """Returns the tensors that are missing, of another shape, or not expected."""
    problems, expected = [], set()
    for leaf in leaves:
        for source in leaf.sources:
            expected.add(source)
            name, wanted = stored(source, leaf.source_shape)
            if source not in tensors:
                problems.append(f"{name} is missing; expected {list(wanted)}")
            elif tensors[source].shape != leaf.source_shape:
                _, shape = stored(source, tensors[source].shape)
                problems.append(f"{name} is {list(shape)}; expected {list(wanted)}")
    for source in sorted(tensors.keys() - expected):
        name, shape = stored(source, tensors[source].shape)
        problems.append(f"{name} is {list(shape)}; expected no such tensor")
    # Keys and values may be one variable.
    return list(dict.fromkeys(problems))


def of_all(releases: Sequence[release_lib.Release]) -> list[Found]:
    """Returns the model of each checkpoint of a release, which is the same.

    Args:
        releases: the release with each of its checkpoints.

    Raises:
        ReleaseError: see `found`; or the models differ.
    """
    models_found = [found(release) for release in releases]
    first = models_found[0]
    for release, other in zip(releases, models_found, strict=True):
        if (other.name, other.overrides) != (first.name, first.overrides):
            raise errors.ReleaseError(
                f"{release.weights[0]}: is {other.name}, but {releases[0].weights[0]} "
                f"is {first.name}; expected checkpoints of one model"
            )
    return models_found


def _every(
    leaves: tuple[tensor_names.Leaf, ...],
    holds: Callable[[np.ndarray, np.ndarray], bool],
    tensors: Tensors,
) -> bool:
    """Returns whether something holds for the keys and values of all attentions."""
    by_place = {(leaf.module, leaf.name): leaf for leaf in leaves}
    return all(
        holds(leaf.to_ours(tensors), by_place[module, "value"].to_ours(tensors))
        for (module, name), leaf in by_place.items()
        if name == "key"
    )


def _heads_equal(model: models.EncoderDecoder, projection: np.ndarray) -> bool:
    """Returns whether the heads of a projection [d, H k] are several and all equal."""
    config = model.config
    heads = projection.reshape(config.d_model, config.num_heads, config.d_kv)
    return config.num_heads > 1 and bool(np.all(heads == heads[:, :1]))


def _same(one: tensor.Tensor, other: tensor.Tensor) -> bool:
    return one.shape == other.shape and np.array_equal(one.read(), other.read())
