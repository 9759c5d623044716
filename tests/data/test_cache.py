"""The cache folder for each of the variables that can name it."""

import os
import tempfile

import pytest

from clinometer.data import cache


@pytest.mark.parametrize("named", [{}, {"XDG_CACHE_HOME": "relative"}])
def test_a_user_without_a_home_has_a_cache_all_the_same(monkeypatch, capsys, named):
    for name in ("CLINOMETER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in named.items():
        monkeypatch.setenv(name, value)
    # So os.path has it without HOME, where the user's number has no name.
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    cache.say_once.cache_clear()
    expected = f"{tempfile.gettempdir()}/clinometer-{os.getuid()}"
    assert [cache.folder() for _ in range(2)] == [expected] * 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and expected in said and "set HOME" in said
    monkeypatch.setenv("CLINOMETER_CACHE", "~/own")
    assert cache.folder() == expected


def test_a_home_is_found_in_what_names_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLINOMETER_CACHE", "~/own")
    assert cache.folder() == f"{tmp_path}/own"


def test_the_cache_folder_by_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("CLINOMETER_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder() == str(tmp_path / "xdg/clinometer")
    monkeypatch.setenv("CLINOMETER_CACHE", str(tmp_path / "own"))
    assert cache.folder() == str(tmp_path / "own")
