"""Tests of the `clinometer` command: subcommands, errors and exit codes."""

import ast
import importlib.metadata
import os
import platform
import subprocess
import sys
import types

import pytest

import clinometer
from clinometer.tools import cli
from clinometer.tools import versions


@pytest.fixture
def stand_in(monkeypatch):
    """Returns a function that makes `clinometer count` call another main."""

    def install(main):
        module = types.SimpleNamespace(main=main)
        monkeypatch.setitem(sys.modules, "clinometer.tools.count.main", module)

    return install


def test_help_lists_every_subcommand(capsys):
    assert cli.main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in ("train", "study", "report", "count", "bench", "tokenize", "version"):
        rows = [line for line in lines if line.startswith(f"  {name} ")]
        assert len(rows) == 1 and len(rows[0].split()) > 3


def test_no_subcommand_is_a_usage_error(capsys):
    assert cli.main([]) == 2
    assert "usage: clinometer SUBCOMMAND" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("studdy", "did you mean 'study'?"),
        ("tokenise", "did you mean 'tokenize'?"),
        ("xyz", "see `clinometer --help`"),
    ],
)
def test_an_unknown_subcommand_suggests_the_nearest(typed, hint, capsys):
    assert cli.main([typed]) == 2
    assert capsys.readouterr().err == f"clinometer: no subcommand '{typed}'; {hint}\n"


@pytest.mark.parametrize("code", [0, 1, 42, 43])
def test_arguments_and_exit_codes_pass_through(code, stand_in):
    seen = []
    stand_in(lambda argv: seen.append(argv) or code)
    assert cli.main(["count", "--model", "x", "--help"]) == code
    assert seen == [["--model", "x", "--help"]]


def test_a_home_that_the_shell_left_in_an_option(
    monkeypatch, stand_in, capsys, tmp_path
):
    seen = []
    stand_in(lambda argv: seen.extend(argv) or 0)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.main(["count", "--out=~/x", "--a.b=1~/y", "~", "--c=~"]) == 0
    assert seen == [f"--out={tmp_path}/x", "--a.b=1~/y", "~", f"--c={tmp_path}"]
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cli.main(["count", "--out=~/x"]) == 2
    assert "--out=~/x: cannot expand ~; there is no home" in capsys.readouterr().err


def test_interrupt_is_quiet_and_130(stand_in, capsys):
    def interrupted(argv):
        raise KeyboardInterrupt

    stand_in(interrupted)
    assert cli.main(["count"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error():
    code = (
        "import sys\nfrom clinometer.tools import cli\nsys.exit(cli.main(['version']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()  # Before the command can have written a line.
    assert process.stderr.read() == b""
    assert process.wait() == 0


def test_a_missing_package_names_the_extra(capsys, monkeypatch):
    # A None in sys.modules makes the import of a module fail.
    monkeypatch.setitem(sys.modules, "sentencepiece", None)

    def needs_it(argv):
        import sentencepiece  # noqa: F401

    module = types.SimpleNamespace(main=needs_it)
    monkeypatch.setitem(sys.modules, "clinometer.tools.tokenization.main", module)
    assert cli.main(["tokenize"]) == 1
    error = capsys.readouterr().err
    assert "'sentencepiece' is not installed" in error
    assert "pip install 'clinometer[train]'" in error


def test_a_missing_module_of_ours_is_not_hidden(stand_in):
    def broken(argv):
        raise ModuleNotFoundError("no", name="clinometer.tools.count.gone")

    stand_in(broken)
    with pytest.raises(ModuleNotFoundError):
        cli.main(["count"])


@pytest.mark.parametrize("name", sorted(cli.SUBCOMMANDS))
def test_every_subcommand_has_a_main_of_one_argument(name, repo_root):
    parts = cli.SUBCOMMANDS[name].module.split(".")[1:]
    source = repo_root.joinpath(*parts).with_suffix(".py").read_text(encoding="utf-8")
    mains = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "main"
    ]
    assert len(mains) == 1
    required = len(mains[0].args.args) - len(mains[0].args.defaults)
    given = 1 + cli.SUBCOMMANDS[name].takes_all
    assert required <= given <= len(mains[0].args.args)


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom clinometer.tools import cli\ncli.main(['--help'])\n"
        "heavy = {'jax', 'numpy', 'haiku', 'optax'} & set(sys.modules)\n"
        "sys.exit(bool(heavy))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_version_prints_what_is_installed(capsys):
    assert cli.main(["version"]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["clinometer"] == clinometer.__version__
    assert rows["python"] == platform.python_version()
    assert rows["jax"] == importlib.metadata.version("jax")


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(versions, "PACKAGES", ("surely-not-a-package",))
    assert versions.versions()["surely-not-a-package"] is None
