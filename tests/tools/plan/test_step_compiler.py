"""Tests how child processes that compile are run, with children that don't compile."""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from clinometer.tests.tools.plan import compiled
from clinometer.tools.plan import step_cache
from clinometer.tools.plan import step_compiler

_BEGIN = (
    "import json, os, pathlib, signal, sys, time; job = json.load(open(sys.argv[1])); "
)


@pytest.fixture(name="run")
def fixture_run(tmp_path, monkeypatch):
    """Returns a function that runs a request with some code in the child's place."""

    def run(code, timeout=60, request=compiled.REQUEST):
        def module(name, *arguments):
            assert name == "clinometer.tools.plan.step_child"
            return (sys.executable, "-c", _BEGIN + code, *arguments)

        monkeypatch.setattr(step_compiler.python_child, "module", module)
        with step_compiler.StepCompiler(tmp_path, timeout) as compiler:
            return compiler.run(request)

    return run


def test_the_entry_of_the_key_that_the_child_tells_is_read(run, tmp_path):
    entry = compiled.step().entry
    step_cache.save(tmp_path, "abc", entry)
    found = run("print(json.dumps({'key': 'abc', 'cached': True}))")
    assert found == step_compiler.Compiled("abc", True, entry)


def test_the_child_gets_the_request_and_the_flags_of_the_compiler(run, tmp_path):
    seen = tmp_path / "seen.json"
    with pytest.raises(step_compiler.RefusedError, match="^no$"):
        run(
            f"pathlib.Path({str(seen)!r}).write_text(json.dumps([job, "
            "dict(os.environ)])); print(json.dumps({'refused': 'no'}))"
        )
    job, environment = json.loads(seen.read_text())
    assert job["request"] == compiled.REQUEST.to_json()
    assert job["cache"] == str(tmp_path)
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert f"--xla_jf_dump_to={job['dump']} " in environment["LIBTPU_INIT_ARGS"]
    assert not pathlib.Path(job["dump"]).exists()  # Its files are deleted.


def test_a_child_for_gpus_gets_the_flags_of_their_compiler(run, tmp_path):
    seen = tmp_path / "seen.json"
    request = dataclasses.replace(compiled.REQUEST, topology="h100", platform="cuda")
    with pytest.raises(step_compiler.RefusedError, match="^no$"):
        run(
            f"pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ))); "
            "print(json.dumps({'refused': 'no'}))",
            request=request,
        )
    environment = json.loads(seen.read_text())
    assert environment["JAX_PLATFORMS"] == "cpu"
    assert "--xla_gpu_autotune_level=0" in environment["XLA_FLAGS"]
    assert "--xla_jf" not in environment.get("LIBTPU_INIT_ARGS", "")


def test_a_child_that_tells_nothing_is_an_error_with_its_last_words(run):
    with pytest.raises(step_compiler.LostError) as raised:
        run("print('Check failed: x > 0', file=sys.stderr); sys.exit(6)")
    assert str(raised.value) == (
        "the compiler's process ended with 6: Check failed: x > 0"
    )


def test_a_child_that_is_killed_may_have_used_up_the_memory(run):
    with pytest.raises(step_compiler.LostError, match="perhaps for lack of memory"):
        run("os.kill(os.getpid(), signal.SIGKILL)")


def test_a_child_that_takes_too_long_is_ended(run, tmp_path):
    place = tmp_path / "pid"
    with pytest.raises(step_compiler.LostError, match="not compiled after 3 seconds"):
        run(f"open({str(place)!r}, 'w').write(str(os.getpid())); time.sleep(99)", 3)
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)


def test_stopping_ends_children_and_starts_no_more(tmp_path, monkeypatch):
    place = tmp_path / "pid"
    code = f"{_BEGIN}open({str(place)!r}, 'w').write(str(os.getpid())); time.sleep(99)"
    monkeypatch.setattr(
        step_compiler.python_child,
        "module",
        lambda _, *arguments: (sys.executable, "-c", code, *arguments),
    )
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        with step_compiler.StepCompiler(tmp_path, 60) as compiler:
            waiting = pool.submit(compiler.run, compiled.REQUEST)
            while not place.exists() or not place.read_text():
                time.sleep(0.05)
        with pytest.raises(step_compiler.LostError):
            waiting.result()
    with pytest.raises(ProcessLookupError):
        os.kill(int(place.read_text()), 0)
    with pytest.raises(step_compiler.LostError, match="^stopped$"):
        compiler.run(compiled.REQUEST)


def test_a_child_ends_with_its_parent():
    code = (
        "from clinometer.tools.plan import child_process; import time; "
        "tell = child_process.start(); print('noise'); tell(key='abc'); time.sleep(99)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    # What others print is no event.
    assert json.loads(process.stdout.readline()) == {"key": "abc"}
    process.stdin.close()
    assert process.wait(60) == -9
    process.stdout.close()
