"""The file of a task's items: what is written is read, paired and resampled."""

import numpy as np
import pytest

from clinometer.data.tasks import metrics
from clinometer.data.tasks import scores
from clinometer.data.tasks import task as task_lib
from clinometer.train import errors
from clinometer.train.downstream import crossed
from clinometer.train.downstream import item_scores
from clinometer.train.run import directory as run_directory

ANSWERS = [0, 1, 1, 0, 1, 1, 0, 1]


def examples(prefix=""):
    return [task_lib.Example(f"{prefix}{i}", str(a), a) for i, a in enumerate(ANSWERS)]


def scored(said):
    return {
        "accuracy": metrics.accuracy(ANSWERS, said),
        "f1": metrics.f1_binary(ANSWERS, said),
    }


def write(folder, said, step=4, prefix="", averaged=("accuracy", "f1")):
    """Writes the items of a run and returns its directory."""
    directory = run_directory.RunDirectory(folder)
    place = directory.predictions.of_step(step)
    place.mkdir(parents=True)
    item_scores.write(place / "mrpc.npz", examples(prefix), scored(said), averaged)
    return directory


def test_what_is_written_is_read(tmp_path):
    said = [0, 1, 0, 0, 1, 0, 1, 1]
    directory = write(tmp_path, said)
    made = scored(said)
    number = (made["accuracy"] + made["f1"]) / 2
    found = item_scores.of_run(directory, "mrpc", 4, number)
    assert found.number == pytest.approx(number) and found.metrics == made
    right = np.equal(said, ANSWERS)
    np.testing.assert_array_equal(found.metrics["accuracy"].terms[:, 0], right)
    assert len(set(found.digests)) == 8
    # Of another score, another step, or an earlier version.
    assert item_scores.of_run(directory, "mrpc", 4, number + 1) is None
    assert item_scores.of_run(directory, "mrpc", 8, number) is None


def test_metrics_whose_items_are_unknown_are_not_stored(tmp_path):
    path = tmp_path / "x.npz"
    for unknown in (50.0, scores.of_sums([1.0, 0.0], lambda sums: sums[..., 0])):
        item_scores.write(path, examples(), {"own": unknown}, ("own",))
        assert item_scores.read(path) is None
    mixed = {**scored(ANSWERS), "own": 50.0}
    item_scores.write(path, examples(), mixed, ("f1",))
    assert set(item_scores.read(path).metrics) == {"accuracy", "f1"}


def test_seeds_are_paired_by_item(tmp_path):
    said = ([0, 1, 0, 0, 1, 0, 1, 1], [0, 0, 1, 0, 1, 1, 1, 1])
    items = [
        item_scores.read(
            write(tmp_path / str(k), s, averaged=("accuracy",)).path
            / "predictions/4/mrpc.npz"
        )
        for k, s in enumerate(said)
    ]
    values = [float(one.number) for one in items]
    cell = item_scores.cell("mrpc", values, items)
    assert cell.replicates.shape == (2, item_scores.RESAMPLES)
    assert cell.num_items == 8
    right = np.equal(said, ANSWERS)
    # cov(x, y) / N of the items; with 2,000 resamples its error is some 5 % of the
    # variances.
    variances = 100**2 * right.var(axis=1) / 8
    shared = 100**2 * np.cov(right, ddof=0)[0, 1] / 8
    found = np.cov(cell.replicates)
    np.testing.assert_allclose(np.diag(found), variances, rtol=0.1)
    assert found[0, 1] == pytest.approx(shared, abs=0.1 * variances.max())
    # Another task has other draws.
    other = item_scores.cell("rte", values, items)
    assert abs(np.corrcoef(cell.replicates[0], other.replicates[0])[0, 1]) < 0.1
    with pytest.raises(ValueError, match="not paired"):
        crossed.difference(cell, other)


def test_other_examples_are_not_paired(tmp_path):
    items = [
        item_scores.read(
            write(tmp_path / prefix, ANSWERS, prefix=prefix).path
            / "predictions/4/mrpc.npz"
        )
        for prefix in "ab"
    ]
    assert item_scores.cell("mrpc", [1.0, 2.0], items).replicates is None
    assert item_scores.cell("mrpc", [1.0, 2.0], [items[0], None]).replicates is None


def test_damage_is_said(tmp_path):
    directory = write(tmp_path, ANSWERS)
    path = directory.predictions.of_step(4) / "mrpc.npz"
    whole = path.read_bytes()
    for content in (b"", b"no archive", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(errors.RunError, match=r"mrpc\.npz: cannot be read"):
            item_scores.of_run(directory, "mrpc", 4, 100.0)
