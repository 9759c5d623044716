"""Tests of the search for the largest microbatch that fits."""

import math
import types

import jax
import pytest

from clinometer import models
from clinometer.train import compiled
from clinometer.train import job as job_lib
from clinometer.train.memory import need as need_lib
from clinometer.train.memory import search
from clinometer.train.sharding import mesh as mesh_lib

_PROGRAMS = object()


def _job(batch_size, parts=1, name="transformer-pico", **fields):
    return types.SimpleNamespace(
        config=types.SimpleNamespace(data=types.SimpleNamespace(batch_size=batch_size)),
        model=models.build(name, **fields),
        source=types.SimpleNamespace(shape=models.TextShape(32, 8)),
        placement=types.SimpleNamespace(sizes=mesh_lib.Sizes(data=parts)),
    )


@pytest.fixture
def compile_as(monkeypatch):
    """Replaces compilation by needs that a function gives; returns what is tried."""

    def use(need_of):
        tried = []

        def stand_in(job, number, limit):
            tried.append(number)
            need = need_of(number)
            fits = need is not None and need.total <= limit
            return search.Trial(number, need, _PROGRAMS if fits else None)

        monkeypatch.setattr(search, "_try", stand_in)
        return tried

    return use


@pytest.mark.parametrize(
    ("batch_size", "parts", "least", "expected"),
    [
        (16, 1, 1, [1, 2, 4, 8, 16]),
        (16, 1, 3, [4, 8, 16]),
        (16, 8, 1, [1, 2]),
        (12, 2, 1, [1, 2, 3, 6]),
        (16, 1, 17, []),
    ],
)
def test_numbers_divide_the_rows_of_a_part(batch_size, parts, least, expected):
    assert search.numbers(_job(batch_size, parts), least) == expected


def test_numbers_divide_the_groups_of_a_model():
    groups = {"name": "switch-pico", "sequences_per_group": 4}
    assert search.numbers(_job(16, **groups), 1) == [1, 2, 4]
    assert search.numbers(_job(16, parts=2, **groups), 1) == [1, 2]


@pytest.mark.parametrize("exponent", [1.0, 0.8, 0.3])
@pytest.mark.parametrize("batch_size", [128, 360])
def test_the_least_number_is_found(compile_as, batch_size, exponent):
    """Compares with trying all numbers, for temporaries that fall more slowly, too."""

    def need_of(number):
        return need_lib.Need(1_000, math.ceil(90_000 / number**exponent))

    job = _job(batch_size)
    candidates = search.numbers(job, 1)
    saved = 0
    for limit in range(1_100, 100_000, 700):
        tried = compile_as(need_of)
        found = search.largest(job, candidates, limit, lambda text: None)
        fits = [n for n in candidates if need_of(n).total <= limit]
        assert found.number == (fits[0] if fits else candidates[-1])
        assert (found.programs is _PROGRAMS) == bool(fits)
        assert len(set(tried)) == len(tried)
        saved += candidates.index(found.number) + 1 - len(tried)
    assert saved > 100  # Numbers that were skipped, over all limits.


def test_a_number_is_missed_only_where_temporaries_fall_faster(compile_as):
    """The assumption of the search matters: with squares, it takes a larger number."""
    compile_as(lambda number: need_lib.Need(0, 100_000 // number**2))
    found = search.largest(_job(128), [1, 2, 4, 8, 16], 25_000, lambda text: None)
    assert found.number == 4  # 2 fits.


def test_lines_say_what_was_tried(compile_as):
    lines = []
    compile_as(lambda number: need_lib.Need(200, 4_000 // number))
    search.largest(_job(8), [1, 2, 4, 8], 2_000, lines.append)
    assert lines == [
        "num_microbatches 1 (8 rows each) needs 4.2 kB a device: too much for 2.0 kB",
        "num_microbatches 4 (2 rows each) needs 1.2 kB a device: fits for 2.0 kB",
    ]


def test_a_program_that_cannot_be_compiled_does_not_fit(compile_as):
    lines = []
    tried = compile_as(lambda n: need_lib.Need(0, 10) if n >= 4 else None)
    found = search.largest(_job(8), [1, 2, 4, 8], 10, lines.append)
    assert (found.number, tried) == (4, [1, 2, 4])
    assert "needs more memory than there is to compile: too much" in lines[0]


@pytest.mark.slow
def test_programs_are_compiled_once_and_evaluation_counts(make_config, monkeypatch):
    job = job_lib.prepare(make_config("data.batch_size=2"))
    number, made = 2, []
    lower = compiled.lower_train_step

    def lower_once(job):
        made or made.append(lower(job).compile())
        return types.SimpleNamespace(compile=lambda: made[0])

    monkeypatch.setattr(compiled, "lower_train_step", lower_once)
    trial = search.largest(job, [number], 10**12, lambda text: None)
    assert trial.programs.train_step is made[0]
    own = need_lib.of_train_step(made[0]).total
    state = job.placement.state
    assert need_lib.of_eval_step(trial.programs.eval_step, state).total < own
    assert trial.need.total == own
    assert search.largest(job, [number], own - 1, lambda text: None).programs is None
    # Evaluation alone may need too much.
    monkeypatch.setattr(
        need_lib, "of_eval_step", lambda program, state: need_lib.Need(own, 1)
    )
    found = search.largest(job, [number], own, lambda text: None)
    assert found == search.Trial(number, need_lib.Need(own, 1), None)


def test_the_compiler_runs_out_of_memory(make_config, monkeypatch):
    def fail(message):
        def lower(job):
            raise jax.errors.JaxRuntimeError(message)

        monkeypatch.setattr(compiled, "lower_train_step", lower)

    job = job_lib.prepare(make_config())
    fail("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm")
    found = search.largest(job, [4], 10**9, lambda text: None)
    assert found == search.Trial(4, None, None)
    fail("INTERNAL: a bug")
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        search.largest(job, [4], 10**9, lambda text: None)
