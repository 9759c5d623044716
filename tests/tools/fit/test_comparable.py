"""Tests that runs under different conditions are refused by field and name."""

import pytest

from clinometer.kernels.options.errors import OptionError
from clinometer.tools.fit import comparable
from clinometer.tools.fit import errors

_ROW = {
    "run": "a",
    "model": "transformer-pico",
    **{column: f"a {column}" for column in comparable.COLUMNS},
}
_OF_ALL = [f.column for f in comparable.FIELDS if f.scope is comparable.Scope.ALL]
_OF_MODEL = [f.column for f in comparable.FIELDS if f.scope is comparable.Scope.MODEL]
_OF_TIME = [f.column for f in comparable.FIELDS if f.scope is comparable.Scope.TIME]


def test_equal_runs_pass():
    comparable.check_comparable([_ROW, {**_ROW, "run": "b"}])
    seeds = [{**_ROW, "run": str(k), "seed": k, "data_order": k} for k in range(3)]
    comparable.check_comparable(seeds)


def test_what_matters_is_in_the_key():
    assert set(_OF_ALL) >= {
        "rate_protocol",
        "train_steps",
        "batch_size",
        "encoder_length",
        "decoder_length",
        "noise_density",
        "mean_noise_span_length",
        "dtype",
        "optimizer",
        "schedule",
        "vocabulary_sha256",
        "corpus_hash",
        "validation_tokens",
        "order_protocol",
    }
    assert "learning_rate" in _OF_MODEL
    assert {"device_kind", "host_cpu"} <= set(_OF_TIME)


@pytest.mark.parametrize("field", _OF_ALL)
def test_one_other_value_is_refused_by_name(field):
    rows = [_ROW, {**_ROW, "run": "odd-one", "model": "mos-pico", field: "other"}]
    with pytest.raises(errors.FitError) as caught:
        comparable.check_comparable(rows)
    assert f"({field}). a {field}: a; other: odd-one" in str(caught.value)
    assert f"--mixed {field}`" in str(caught.value)
    comparable.check_comparable(rows, [field])
    assert comparable.key(rows[0]) != comparable.key(rows[1])


@pytest.mark.parametrize("field", _OF_MODEL)
def test_sizes_may_differ_where_runs_of_one_model_may_not(field):
    other = {**_ROW, "run": "b", field: "other"}
    with pytest.raises(errors.FitError, match=rf"\({field}\). a {field}: a; other: b"):
        comparable.check_comparable([_ROW, other])
    comparable.check_comparable([_ROW, other], [field])
    comparable.check_comparable([_ROW, {**other, "model": "transformer-nano"}])
    assert comparable.key(_ROW) == comparable.key(other)
    assert comparable.cell(_ROW) != comparable.cell(other)


@pytest.mark.parametrize("field", _OF_TIME)
def test_devices_matter_to_times_alone(field):
    rows = [_ROW, {**_ROW, "run": "b", field: None}]
    comparable.check_comparable(rows)
    scopes = (comparable.Scope.TIME,)
    (found,) = comparable.differences(rows, scopes)
    assert str(found).endswith(f"({field}). a {field}: a; none: b")
    assert comparable.differences(rows, scopes, [field]) == []


def test_many_runs_of_a_value_are_not_all_named():
    rows = [{**_ROW, "run": f"r{i}", "train_steps": 1 + i // 5} for i in range(9)]
    with pytest.raises(errors.FitError) as caught:
        comparable.check_comparable(rows)
    assert "1: r0, r1, r2 and 2 more; 2: r5, r6, r7, r8." in str(caught.value)


def test_all_fields_that_differ_are_named():
    rows = [_ROW, {**_ROW, "run": "b", "dtype": "bfloat16", "train_steps": 9}]
    with pytest.raises(errors.FitError) as caught:
        comparable.check_comparable(rows)
    assert "run length (train_steps)" in str(caught.value)
    assert "They also differ in dtype." in str(caught.value)
    assert "--mixed train_steps,dtype`" in str(caught.value)


def test_parse_mixed():
    assert comparable.parse_mixed("dtype, host_cpu") == ("dtype", "host_cpu")
    for text, words in (
        ("typ", "unknown field 'typ'.*accepted: corpus_hash, "),
        ("dtyp", "did you mean 'dtype'"),
        (",", "no field given; accepted: corpus_hash, "),
    ):
        with pytest.raises(OptionError, match=words):
            comparable.parse_mixed(text)
