"""Tests of filling the blanks of a prompt."""

import pytest

from clinometer.train.generation import fill_in

_PROMPT = "The <extra_id_0> walks in <extra_id_1> park."


@pytest.mark.parametrize(
    ("output", "spans", "filled"),
    [
        (
            "<extra_id_0> cute dog <extra_id_1> the",
            {0: "cute dog", 1: "the"},
            "The cute dog walks in the park.",
        ),
        # T5 closes its outputs with a sentinel, after which anything may stand.
        (
            "<extra_id_0> cute dog <extra_id_1> the <extra_id_2> and so on",
            {0: "cute dog", 1: "the"},
            "The cute dog walks in the park.",
        ),
        ("before <extra_id_1> a <extra_id_0> cat", {1: "a", 0: "cat"}, "The cat walks"),
        ("<extra_id_0> x <extra_id_0> y <extra_id_1> z", {0: "x", 1: "z"}, "The x"),
        ("<extra_id_0> <extra_id_1> the", {0: "", 1: "the"}, "The walks in the park."),
        ("<extra_id_1> the", {1: "the"}, None),
        ("not_entailment", {}, None),
        ("", {}, None),
    ],
)
def test_spans_fill_their_blanks(output, spans, filled):
    found = fill_in.spans(_PROMPT, output)
    assert found == spans and list(found) == list(spans)
    made = fill_in.filled(_PROMPT, found)
    assert made is None if filled is None else made.startswith(filled)


def test_a_text_is_not_a_pattern():
    found = fill_in.spans("a <extra_id_7>", r"<extra_id_7> \1 \g<0>")
    assert fill_in.filled("a <extra_id_7>", found) == r"a \1 \g<0>"


def test_a_prompt_without_blanks_has_nothing_to_fill():
    assert fill_in.filled("rte sentence1: a", {}) is None
