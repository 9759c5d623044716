"""Tests that one process records a profile, and the others only keep in step."""

import jax

from clinometer.train.host import profiling


def test_a_process_that_does_not_write_only_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: 1 / 0)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: 1 / 0)
    profile = profiling.Profile(tmp_path / "profile", writes=False)
    profile.start()
    assert profile.running
    profile.stop()
    assert not profile.running
    assert not (tmp_path / "profile").exists()


def test_a_process_that_writes_records(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", calls.append)
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    profile = profiling.Profile(tmp_path / "profile")
    profile.stop()
    assert not calls
    profile.start()
    assert profile.running
    profile.stop()
    profile.stop()
    assert calls == [str(tmp_path / "profile"), "stop"]
