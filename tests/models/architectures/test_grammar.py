"""Parsing of model names and operators, and errors for invalid ones."""

import random

import pytest

from clinometer import models
from clinometer.models.architectures import grammar
from clinometer.models.architectures import sizes

NAMES = ("transformer", "switch")
ARCHITECTURES = {name: models.ARCHITECTURES[name] for name in NAMES}


def fields(name: str) -> dict:
    return grammar.parse(name, ARCHITECTURES).config_fields()


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("transformer-small", {}),
        ("transformer-SM", {}),
        ("TRANSFORMER-Small", {}),
        ("transformer-NL32-SM", {"num_encoder_layers": 32, "num_decoder_layers": 32}),
        ("transformer-EL12-SM", {"num_encoder_layers": 12}),
        ("transformer-DL2-SM", {"num_decoder_layers": 2}),
        ("transformer-FF2K-SM", {"d_ff": 2048}),
        ("transformer-FF9K-SM", {"d_ff": 9216}),
        ("transformer-F12K-SM", {"d_ff": 12288}),
        ("transformer-small-ff9000", {"d_ff": 9216}),
        ("transformer-small-ff12000", {"d_ff": 12288}),
        ("transformer-small-dm1000", {"d_model": 1024}),
        ("transformer-DM2K-SM", {"d_model": 2048}),
        ("transformer-KV32-SM", {"d_kv": 32}),
        ("transformer-NH16-SM", {"num_heads": 16}),
        ("transformer-SH-SM", {"num_kv_heads": 1}),
        ("transformer-SKV-SM", {"shared_kv": True}),
        (
            "transformer Small 32EL",
            {"num_encoder_layers": 32},
        ),
        (
            "transformer-small-el16-dl8",
            {"num_encoder_layers": 16, "num_decoder_layers": 8},
        ),
        (
            "t5-efficient-small-el16-dl4",
            {"num_encoder_layers": 16, "num_decoder_layers": 4},
        ),
        (
            "transformer_Small_16L",
            {"num_encoder_layers": 16, "num_decoder_layers": 16},
        ),
    ],
)
def test_operators_change_their_fields_and_no_others(name, changed):
    small = {
        "num_encoder_layers": 6,
        "num_decoder_layers": 6,
        "d_model": 512,
        "d_ff": 2048,
        "num_heads": 8,
        "d_kv": 64,
    }
    assert fields(name) == {**small, **changed}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("transformer-NL36-LG", "large"),
        ("transformer-3B-l12", "xl"),
        ("transformer-11b", "xxl"),
        ("transformer-PI", "pico"),
        ("transformer-NA", "nano"),
        ("transformer-MC", "micro"),
        ("transformer-ML", "milli"),
        ("transformer-TI", "tiny"),
        ("transformer-MI", "mini"),
        ("transformer-BA", "base"),
        ("transformer-XXXL", "xxxl"),
    ],
)
def test_sizes(name, size):
    assert grammar.parse(name, ARCHITECTURES).size == size


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("transformer-SM", "transformer-small"),
        ("transformer-small-16L", "transformer-NL16-SM"),
        ("Switch-ff2k-skv-el4-base", "switch-EL4-FF2048-SKV-BA"),
    ],
)
def test_one_spelling(name, canonical):
    parsed = grammar.parse(name, ARCHITECTURES)
    assert parsed.canonical == canonical
    assert grammar.parse(canonical, ARCHITECTURES) == parsed


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("small", "unknown architecture 'small'"),
        ("transfomer-small", "did you mean 'transformer'"),
        ("", "unknown architecture"),
        ("transformer", "no size"),
        ("transformer-NL4", "no size"),
        ("transformer-smal", "did you mean 'small'"),
        ("transformer-NL-SM", "NL needs a number"),
        ("transformer-NL0-SM", "at least 1"),
        ("transformer-SKV2-SM", "SKV takes no number"),
        ("transformer-ZZ3-SM", "'ZZ3' is neither a size nor an operator"),
        ("transformer-NL3-NL4-SM", "NL is given twice"),
        ("transformer-NL3-EL4-SM", "NL sets both stacks"),
        ("transformer-small-base", "two sizes"),
        ("transformer-NL1.5-SM", "neither a size nor an operator"),
        ("transformer-NL99999999999-pico", "'NL99999999999' must be at most 1024"),
        ("transformer-EL1025-pico", "'EL1025' must be at most 1024"),
        ("transformer-DL9K-pico", "must be at most 1024"),
        ("transformer-L2000-pico", "must be at most 1024"),
        ("transformer-FF9999K-pico", "must be at most 1048576"),
        ("transformer-DM65537-pico", "must be at most 65536"),
        ("transformer-NH4097-pico", "must be at most 4096"),
        ("transformer-KV18446744073709551616-pico", "must be at most 65536"),
        ("transformer-" + "NL2-" * 3000 + "pico", "12,016 characters; .* at most 200"),
        ("x" * 10_000, "10,000 characters"),
        ("transformer-FF" + "9" * 150 + "-pico", "more than 40 digits"),
    ],
)
def test_bad_names_say_what_is_wrong(name, message):
    with pytest.raises(grammar.ModelNameError, match=message) as caught:
        grammar.parse(name, ARCHITECTURES)
    assert len(str(caught.value)) < 500


def test_random_names_are_read_or_refused_in_a_line():
    rng = random.Random(0)
    parts = (*NAMES, *grammar.OPERATORS, *sizes.NAMES, "L", "é", "0")
    read = 0
    for _ in range(5000):
        words = [rng.choice(NAMES)] * rng.randint(0, 1)
        for _ in range(rng.randint(0, 4)):
            number = rng.choice(("", "", "4", "2K", "9" * rng.randint(1, 400), "-1"))
            pair = [rng.choice(parts), number]
            words.append("".join(pair if rng.random() < 0.8 else reversed(pair)))
        name = rng.choice("-_ ").join(words)
        try:
            parsed = grammar.parse(name, ARCHITECTURES)
        except grammar.ModelNameError as error:
            assert "\n" not in str(error) and len(str(error)) < 1000, name
            continue
        read += 1
        assert grammar.parse(parsed.canonical, ARCHITECTURES) == parsed
        assert max(parsed.config_fields().values()) <= 2**20
    assert read > 50
