"""Tests of the scripts for shells."""

import subprocess
import sys

import pytest

from clinometer.tools import cli
from clinometer.tools.completion import main
from clinometer.tools.completion import parsers


def _complete(script, *words):
    """Returns what bash offers for the last of the words."""
    last = len(words) - 1
    line = (
        f'source {script}; COMP_WORDS=("$@"); COMP_CWORD={last}; '
        '_shtab_clinometer; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "-c", line, "bash", *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=script.parent,
    )
    return [word.strip() for word in done.stdout.splitlines()]


def test_bash_completes_subcommands_options_values_and_paths(tmp_path, capsys):
    """One test, as collecting the parsers imports all commands."""
    assert main.main(["bash"], cli.SUBCOMMANDS) == 0
    script = tmp_path / "clinometer.bash"
    script.write_text(capsys.readouterr().out)
    (tmp_path / "runs").mkdir()
    assert set(cli.SUBCOMMANDS) <= set(_complete(script, "clinometer", ""))
    assert _complete(script, "clinometer", "eva") == ["evaluate"]
    offered = _complete(script, "clinometer", "evaluate", "--b")
    assert offered == ["--beam-size", "--batch-size"]
    offered = _complete(script, "clinometer", "evaluate", "--decoding", "")
    assert offered == ["greedy", "beam", "sample", "rank"]
    assert _complete(script, "clinometer", "evaluate", "ru") == ["runs"]
    assert _complete(script, "clinometer", "completion", "z") == ["zsh"]

    for shell in ("zsh", "fish", "tcsh"):
        assert main.main([shell], cli.SUBCOMMANDS) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in cli.SUBCOMMANDS)


def test_a_command_that_lacks_packages_is_completed_by_name(monkeypatch):
    monkeypatch.setitem(sys.modules, "clinometer.tools.versions", None)
    assert parsers.of_command("clinometer.tools.versions") is None
    whole = parsers.whole({"version": None}, {"version": "prints versions"})
    assert "version" in whole.format_help()


def test_an_unknown_shell_is_a_usage_error(capsys):
    with pytest.raises(SystemExit, match="2"):
        main.main(["csh"], {})
    assert "invalid choice: 'csh'" in capsys.readouterr().err
