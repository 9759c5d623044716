"""Tests the environment variables of a run."""

from clinometer.tools.study.engines import environment


def test_one_core_keeps_other_flags():
    found = environment.of_run({"XLA_FLAGS": "--xla_dump_to=x", "HOME": "/h"})
    assert found["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    assert found["HOME"] == "/h" and found["OMP_NUM_THREADS"] == "1"
    assert found["NPROC"] == "1"


def test_more_cores_have_as_many_threads():
    found = environment.of_run({"OMP_NUM_THREADS": "1"}, cpus=3)
    assert found["OMP_NUM_THREADS"] == found["MKL_NUM_THREADS"] == "3"
    assert "multi_thread_eigen" not in found["XLA_FLAGS"]


def test_runs_share_programs_unless_the_user_has_a_folder_of_them(tmp_path):
    found = environment.with_programs({"HOME": "/h"}, tmp_path)
    assert found == {
        "HOME": "/h",
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "JAX_COMPILATION_CACHE_MAX_SIZE": "1073741824",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    own = {"JAX_COMPILATION_CACHE_DIR": "/programs"}
    assert environment.with_programs(own, tmp_path) == own
