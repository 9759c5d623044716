"""Tests of the advice for a run that ran out of memory."""

import contextlib
import types

import jax
import pytest

from clinometer.train import errors
from clinometer.train import job as job_lib
from clinometer.train.hosts import group as group_lib
from clinometer.train.hosts import running
from clinometer.train.memory import advice
from clinometer.train.memory import need as need_lib
from clinometer.train.memory import search
from clinometer.train.run import directory as run_directory

_SPARING = ("model.remat=layer", "model.dtype=bfloat16")


@pytest.fixture(autouse=True)
def tried(monkeypatch):
    """Replaces compilation by a formula; returns the combinations that are tried.

    A row takes 100 bytes, half of them with remat, and half of that in bfloat16; the
    state takes 1,000 bytes.
    """
    found = []

    def stand_in(job, number, limit):
        config = job.model.config
        found.append((number, config.remat, config.dtype))
        row = 100 / (1 + (config.remat == "layer")) / (1 + (config.dtype != "float32"))
        need = need_lib.Need(1_000, round(row * job.config.data.batch_size / number))
        return search.Trial(number, need, object() if need.total <= limit else None)

    monkeypatch.setattr(search, "_try", stand_in)
    return found


@pytest.fixture(scope="module")
def make_job(make_config):
    return lambda *fields: job_lib.prepare(make_config("data.batch_size=8", *fields))


def _options(job, limit, **options):
    smaller = search.numbers(job, job.config.num_microbatches + 1)
    return advice.options(job, smaller, limit, lambda text: None, **options)


@pytest.mark.parametrize(
    ("limit", "settings", "given"),
    [
        (1_700, "4 rows, remat none, dtype float32", "num_microbatches=2"),
        (1_200, "2 rows, remat none, dtype float32", "num_microbatches=4"),
        (1_100, "1 rows, remat none, dtype float32", "num_microbatches=8"),
        (
            1_060,
            "1 rows, remat layer, dtype float32",
            "num_microbatches=8 --config.model.remat=layer",
        ),
        (
            1_030,
            "1 rows, remat layer, dtype bfloat16 (a dtype that changes the results)",
            "num_microbatches=8 --config.model.remat=layer "
            "--config.model.dtype=bfloat16",
        ),
    ],
)
def test_what_fits(make_job, tried, limit, settings, given):
    text = _options(make_job(), limit)
    assert text.startswith(f"It fits with microbatches of {settings}, which needs 1.")
    assert text.endswith(f"a device: give --config.{given}")
    remats = [remat for _, remat, _ in tried]
    dtypes = [dtype for _, _, dtype in tried]
    # In this order, and no further than needed.
    assert (remats, dtypes) == (
        sorted(remats, reverse=True),
        sorted(dtypes, reverse=True),
    )
    assert tried[-1][1:] == tuple(settings.split()[i].strip(",") for i in (3, 5))


def test_what_the_run_already_has_is_not_proposed(make_job, tried):
    text = _options(make_job("model.remat=layer"), 1_010)
    assert text.startswith(
        "Nothing fits in the 1.0 kB of a device: the least, with microbatches of 1 "
        "rows, remat layer, dtype bfloat16, needs 1.0 kB. More devices divide it"
    )
    assert {remat for _, remat, _ in tried} == {"layer"}
    tried.clear()
    _options(make_job(*_SPARING), 1_010)
    assert {(remat, dtype) for _, remat, dtype in tried} == {("layer", "bfloat16")}


def test_a_run_with_checkpoints_can_only_change_remat(make_job, tried):
    job = make_job("num_microbatches=2")
    text = _options(job, 1_210, bound=True)
    assert text.startswith("It fits with microbatches of 4 rows, remat layer, dtype fl")
    assert text.endswith("a device: give --config.model.remat=layer")
    assert tried == [(2, "layer", "float32")]
    assert _options(job, 1_110, bound=True).startswith("Nothing fits")


@contextlib.contextmanager
def _other(doing):
    del doing
    yield


def _explain(job, folder, error):
    directory = run_directory.RunDirectory(folder)
    group, watchdog = group_lib.Group(), types.SimpleNamespace(other=_other)
    hosts = running.Running(group, None, None, watchdog)
    with advice.explained(job, directory, hosts, lambda text: None):
        raise error


def test_out_of_memory_is_explained(make_job, tmp_path):
    job = make_job("device_memory_bytes=1700")
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(errors.RunError) as caught:
        _explain(job, tmp_path, full)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert text.startswith(
        "out of memory with microbatches of 8 rows, remat none, dtype float32. It fits"
    )
    # In a folder with a checkpoint, the number of microbatches stays.
    (tmp_path / "checkpoints" / "4").mkdir(parents=True)
    with pytest.raises(errors.RunError) as caught:
        _explain(job, tmp_path, full)
    text = str(caught.value)
    assert "float32 (all but remat are those of its checkpoint or trunk). It" in text
    assert text.endswith("give --config.model.remat=layer")
    other = jax.errors.JaxRuntimeError("INTERNAL: a bug")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        _explain(job, tmp_path, other)


def test_devices_that_do_not_say(make_job, tmp_path, monkeypatch, tried):
    monkeypatch.setattr(need_lib, "of_any_device", lambda *unused: None)
    full = jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")
    with pytest.raises(errors.RunError, match="give --config.device_memory_bytes=N"):
        _explain(make_job(), tmp_path, full)
    assert not tried
