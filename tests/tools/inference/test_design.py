"""Designs against ranks of their dummies, and what they refuse."""

import dataclasses

import numpy as np
import pytest

from clinometer.tests.tools.inference import studies
from clinometer.tools.inference import design as design_lib
from clinometer.tools.inference import errors


def _run(**changes):
    run = design_lib.Run("one", "a", 16, "1", "0", 1e11, 4.0)
    return dataclasses.replace(run, **changes)


def test_runs_are_sorted_into_cells():
    runs = [
        _run(width=32, flops=3e11, loss=3.9),
        _run(architecture="b", loss=4.2),
        _run(loss=4.1),
        _run(order="2", loss=4.0),
    ]
    design, losses = design_lib.from_runs(runs)
    assert [(c.architecture, c.width) for c in design.cells] == [
        ("a", 16),
        ("a", 32),
        ("b", 16),
    ]
    np.testing.assert_array_equal(design.incidence, [[1, 1], [1, 0], [1, 0]])
    np.testing.assert_array_equal(design.cell_of_run, [1, 2, 0, 0])
    np.testing.assert_array_equal(losses, [3.9, 4.2, 4.1, 4.0])


@pytest.mark.parametrize(
    "design",
    [
        studies.unbalanced(),
        studies.first_study(),
        studies.ladder(4, (6, 2, 1, 3)),
        studies.one_order(3, (3, 1, 2)),
        # Two pairs of orders that no cell connects.
        design_lib.planned(
            {"a": {16: 1.0, 32: 2.0, 64: 3.0}},
            {"a": {16: "12", 32: "34", 64: "12"}},
            {"a": 2},
        ),
    ],
)
def test_degrees_of_freedom_are_runs_less_rank(design):
    dummies = studies.dense(design)
    expected = len(dummies) - np.linalg.matrix_rank(dummies)
    assert design.residual_degrees == expected
    basis = design.order_basis
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-12)
    # Mutation: one more run in a known cell and order, one more degree of freedom.
    more = dataclasses.replace(
        design,
        cell_of_run=np.append(design.cell_of_run, design.cell_of_run[0]),
        order_of_run=np.append(design.order_of_run, design.order_of_run[0]),
    )
    assert more.residual_degrees == expected + 1


def test_the_information_on_orders_is_the_dense_one():
    design = studies.unbalanced()
    cells, orders = np.split(studies.dense(design), [len(design.cells)], axis=1)
    off_cells = np.eye(len(cells)) - cells @ np.linalg.pinv(cells)
    reduced = orders @ design.order_basis
    np.testing.assert_allclose(
        design.order_information.sum(axis=0),
        reduced.T @ off_cells @ reduced,
        atol=1e-12,
    )


def test_a_difference_that_orders_confound_is_refused():
    design = design_lib.planned(
        {"a": {16: 1.0, 32: 2.0}, "b": {16: 1.0}},
        {"a": {16: "12", 32: "12"}, "b": {16: "34"}},
        {"a": 1, "b": 1},
    )
    design.check_estimable(np.array([[1.0, -1.0, 0.0]]))
    with pytest.raises(errors.InferenceError, match=r"order: no order connects a d16"):
        design.check_estimable(np.array([[1.0, 0.0, -1.0]]))


def test_sizes_of_one_width_are_cells_of_their_own():
    runs = [
        _run(size="nano"),
        _run(name="two", size="NL4-nano", flops=2e11),
        _run(name="three", size="NL4-nano", flops=2e11, order="2"),
    ]
    design, _ = design_lib.from_runs(runs)
    assert [cell.label for cell in design.cells] == ["a nano", "a NL4-nano"]
    np.testing.assert_array_equal(design.counts, [1, 2])
    with pytest.raises(errors.InferenceError, match="a nano, a NL4-nano are all d16"):
        design.cell("a", 16)


def test_a_run_counted_twice_is_refused_by_both_names():
    copied = [_run(name="study/one"), _run(name="study/one (copy)")]
    with pytest.raises(errors.InferenceError) as caught:
        design_lib.from_runs(copied)
    assert "study/one and study/one (copy)" in str(caught.value)
    design_lib.from_runs([copied[0], _run(name="other", initialisation="1")])


@pytest.mark.parametrize(
    "runs, message",
    [
        ([], "runs: none"),
        ([_run(loss=float("nan"))], "loss of one is nan; accepted: a finite number"),
        ([_run(flops=0.0)], "flops of one is 0.0; accepted: a finite number above 0"),
        ([_run(width=0)], "width of one"),
        ([_run(), _run(name="two", order="2", flops=2e11)], "flops of one are 1e[+]11"),
    ],
)
def test_bad_tables_are_refused(runs, message):
    with pytest.raises(errors.InferenceError, match=message):
        design_lib.from_runs(runs)


def test_unknown_names_are_refused_with_the_known_ones():
    design = studies.unbalanced()
    with pytest.raises(errors.InferenceError, match="'c'; accepted: a, b"):
        design.cells_of("c")
    with pytest.raises(errors.InferenceError, match="width is 8; accepted for a: 16"):
        design.cell("a", 8)
    with pytest.raises(errors.InferenceError, match=r"needs 4 or more sizes; a has 3"):
        design.check_sizes("a", 4, "a law")
    with pytest.raises(errors.InferenceError, match="none for a d32"):
        design_lib.planned({"a": {16: 1.0}}, {"a": {32: "1"}}, {"a": 1})
