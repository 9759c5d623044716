"""The registry of architectures, and `build`, which builds a model by name.

models/README.md explains how to add an architecture, inside this repository or outside
(see `own.py`).
"""

from collections.abc import Mapping
import dataclasses
from typing import Any

from clinometer.kernels.options.errors import did_you_mean
from clinometer.models import config as config_lib
from clinometer.models.architectures import albert
from clinometer.models.architectures import architecture as architecture_lib
from clinometer.models.architectures import dconv
from clinometer.models.architectures import evolved
from clinometer.models.architectures import funnel
from clinometer.models.architectures import glu
from clinometer.models.architectures import grammar
from clinometer.models.architectures import lconv
from clinometer.models.architectures import mixer
from clinometer.models.architectures import mos
from clinometer.models.architectures import own
from clinometer.models.architectures import performer
from clinometer.models.architectures import sizes
from clinometer.models.architectures import switch
from clinometer.models.architectures import transformer
from clinometer.models.architectures import universal
from clinometer.models.counting import closed_form
from clinometer.models.seq2seq import model as seq2seq
from clinometer.models.vision import architecture as vision
from clinometer.models.vision import model as vision_model

REFERENCE = "transformer"  # Studies compare the other architectures with it.
ARCHITECTURES: dict[str, architecture_lib.Architecture] = {
    "transformer": transformer.ARCHITECTURE,
    "evolved": evolved.ARCHITECTURE,
    "universal": universal.ARCHITECTURE,
    "switch": switch.ARCHITECTURE,
    "performer": performer.ARCHITECTURE,
    "funnel": funnel.ARCHITECTURE,
    "albert": albert.ARCHITECTURE,
    "mos": mos.ARCHITECTURE,
    "glu": glu.ARCHITECTURE,
    "lconv": lconv.ARCHITECTURE,
    "dconv": dconv.ARCHITECTURE,
    "mixer": mixer.ARCHITECTURE,
}
IMAGE_ARCHITECTURES = {"vit": vision.ARCHITECTURE}


def register(name: str, architecture: architecture_lib.Architecture) -> None:
    """Adds an architecture to this process, such as a notebook or a test.

    Commands, and the processes that a study starts, know it only from a file: see
    `own.py`.

    Args:
        name: lowercase letters and digits, starting with a letter.
        architecture: the architecture.

    Raises:
        OptionError: the name is unsuitable or taken.
    """
    own.check_name(name, (*ARCHITECTURES, *IMAGE_ARCHITECTURES))
    ARCHITECTURES[name] = architecture


def parse(name: str) -> grammar.ModelName:
    """Parses a model name; raises `grammar.ModelNameError` if it is invalid."""
    return grammar.parse(name, {**ARCHITECTURES, **IMAGE_ARCHITECTURES})


def architecture_of(
    name: str,
) -> architecture_lib.Architecture | vision.ImageArchitecture:
    """Returns the architecture of a model name; raises `grammar.ModelNameError`."""
    architecture = parse(name).architecture
    return ARCHITECTURES.get(architecture) or IMAGE_ARCHITECTURES[architecture]


def takes_images(name: str) -> bool:
    """Returns whether a name is of a model of images; False if it is invalid."""
    try:
        return parse(name).architecture in IMAGE_ARCHITECTURES
    except grammar.ModelNameError:
        return False


def size_of(name: str) -> str:
    """Returns the size of a model name; raises `grammar.ModelNameError`."""
    return parse(name).size


def build(
    name: str, *, paper_literal_kv32: bool = False, **overrides: Any
) -> seq2seq.EncoderDecoder | Any:  # The name says which, and type checkers cannot.
    """Builds a model by name, such as `transformer-NL16-SM`; allocates nothing.

    Args:
        name: ARCHITECTURE-[OPERATORS-]SIZE, see `grammar.py`.
        paper_literal_kv32: use the d_kv of 32 that Table 1 of Tay et al. 2021 prints
            for tiny, mini and small, although its parameter counts need 64.
        **overrides: fields of the architecture's config, e.g. `dropout_rate=0.0`.

    Returns:
        An `EncoderDecoder`; of an architecture of images, a `VisionTransformer`.

    Raises:
        ModelNameError: the name is invalid.
        ConfigError: an override is unknown or out of range.
    """
    parsed = parse(name)
    architecture = architecture_of(name)
    for operator, _ in parsed.operators:
        if operator in architecture.refused_operators:
            raise grammar.ModelNameError(
                f"model {name!r}: operator {operator} does not apply to "
                f"{parsed.architecture}: {architecture.refused_operators[operator]}"
            )
    if parsed.architecture in IMAGE_ARCHITECTURES:
        config = _config(architecture.config, parsed, vision.fields(parsed), overrides)
        return vision_model.VisionTransformer(parsed.canonical, config)
    fields = {**parsed.config_fields(), **architecture.size_fields(parsed.size)}
    has_kv = "KV" in dict(parsed.operators)
    if paper_literal_kv32 and parsed.size in sizes.PRINTED_KV32 and not has_kv:
        fields["d_kv"] = 32
    return seq2seq.EncoderDecoder(
        parsed.canonical,
        _config(architecture.config, parsed, fields, overrides),
        architecture.make_network,
        closed_form.ClosedForm(architecture.param_counts, architecture.forward_macs),
    )


def _config(
    kind: type,
    parsed: grammar.ModelName,
    fields: Mapping[str, Any],
    overrides: Mapping[str, Any],
) -> Any:
    """Returns a config of the named model; ConfigError for unknown overrides."""
    known = [field.name for field in dataclasses.fields(kind)]
    for key in overrides:
        if key not in known:
            raise config_lib.ConfigError(
                f"{parsed.canonical}: unknown option {key!r}"
                f"{did_you_mean(key, known)}; accepted: {', '.join(known)}"
            )
    return kind(**{**fields, **overrides})
