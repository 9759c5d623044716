"""The persistent cache: a second process compiles nothing that the first compiled."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from clinometer.data import paths
from clinometer.train import compilation_cache
from clinometer.train import job as job_lib

# Prints how many programs were found in the cache, and how many were not.
_COUNTED = """
import collections, json, sys
import jax
from clinometer.train import compilation_cache
events = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **unused: events.update([name]))
{work}
prefix = "/jax/compilation_cache/cache_"
print(json.dumps([events[prefix + "hits"], events[prefix + "misses"]]))
"""
_SMALL = """
compilation_cache.enable(sys.argv[1])
jax.jit(lambda x: x + 7)(jax.numpy.ones(3))
"""
_TRAIN = """
from clinometer.train import main
assert main.main(sys.argv[1:]) == 0
"""


def counted(work, *arguments):
    """Runs code in a new process without JAX's settings; returns (hits, misses)."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if "COMPILATION_CACHE" not in name and "PERSISTENT_CACHE" not in name
    } | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    ended = subprocess.run(
        [sys.executable, "-c", _COUNTED.format(work=work), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture
def restored():
    """Restores JAX's settings of the cache."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: jax.config.values[name] for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.compilation_cache.reset_cache()


def entries(folder):
    return sorted(path.name for path in folder.glob("*-cache"))


def test_a_second_process_finds_the_programs(tmp_path):
    hits, misses = counted(_SMALL, tmp_path / "programs")
    written = entries(tmp_path / "programs")
    assert (hits, misses) == (0, len(written)) and misses > 0
    assert counted(_SMALL, tmp_path / "programs") == [misses, 0]
    assert entries(tmp_path / "programs") == written


@pytest.mark.slow
def test_a_second_run_compiles_nothing_even_with_another_seed(arguments, tmp_path):
    overrides = ("train_steps=2", "log.trackers=", "eval.max_rows=2")
    overrides += ("model.dropout_rate=0.0",)  # Whose key would depend on the seed.
    folder = tmp_path / "programs"
    command = arguments(*overrides, f"compilation_cache={folder}")
    hits, misses = counted(_TRAIN, *command, f"--workdir={tmp_path / '1'}")
    written = entries(folder)
    assert len(written) > 2  # The train and the evaluation step, and small ones.
    other = (f"--workdir={tmp_path / '2'}", "--config.seed=7")
    hits, misses = counted(_TRAIN, *command, *other)
    assert misses == 0 and hits >= len(written)
    assert entries(folder) == written


def test_a_cache_can_be_enabled_after_a_compilation(restored, tmp_path):
    jax.jit(lambda x: x - 1)(jnp.ones(3))
    compilation_cache.enable(tmp_path / "new")
    jax.jit(lambda x: x + 3)(jnp.ones(3))
    assert list((tmp_path / "new").glob("*-cache"))


def test_a_cache_in_an_object_store_is_for_slow_programs_only(restored, objects):
    before = jax.config.jax_persistent_cache_min_compile_time_secs
    compilation_cache.enable("s3://bucket/programs")
    assert jax.config.jax_compilation_cache_dir == "s3://bucket/programs"
    assert jax.config.jax_persistent_cache_min_compile_time_secs == before
    # With a limit of 0 even this program is written.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.jit(lambda x: x + 5)(jnp.ones(3))
    assert any(n.endswith("-cache") for n in paths.names("s3://bucket/programs"))


def test_a_folder_that_cannot_be_made_is_refused(make_config, tmp_path):
    (tmp_path / "file").touch()
    config = make_config(f"compilation_cache={tmp_path / 'file'}")
    with pytest.raises(ValueError, match=r"config\.compilation_cache: .* is a file"):
        job_lib.prepare(config)


def test_none_leaves_the_settings_of_jax():
    before = jax.config.jax_compilation_cache_dir
    compilation_cache.enable(None)
    assert jax.config.jax_compilation_cache_dir == before
