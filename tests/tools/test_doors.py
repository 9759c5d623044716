"""Tests of commands with unusual streams, environments, folders, numbers and paths.

A command either works or prints one line that says what was wrong, with the matching
exit code; it never prints a traceback.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from clinometer.models.counting import counts
from clinometer.tools import cli
from clinometer.train import exit_codes

_COUNT = ("count", "--model", "transformer-PI", "--json")
_MORE = "import sys; from clinometer.tools import cli; sys.exit(cli.main(sys.argv[1:]))"


def run(*command, shell=None, flags=(), **kwargs):
    """Runs a command in its own process, or by a shell with redirections."""
    python = [sys.executable, *flags, "-c", _MORE, *command]
    environment = {**os.environ, **kwargs.pop("environment", {})}
    if shell is not None:
        python = ["bash", "-c", f'"$@" {shell}', "bash", *python]
    return subprocess.run(
        python,
        env=environment,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=300,
        **kwargs,
    )


def assert_one_line(done, code=2):
    """Checks that the command printed an error that names it, and no traceback."""
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    lines = done.stderr.strip().splitlines()
    assert lines[-1].startswith("clinometer "), done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed):
    done = run("version", shell=closed)
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(done.stdout) == (">&-" not in closed or closed == "2>&-")


def test_nothing_written_to_a_closed_stream_lands_in_a_file(tmp_path):
    """Otherwise the first opened file would get the descriptor of a closed stream."""
    code = (
        "import sys, os, types\n"
        "from clinometer.tools import cli\n"
        "def main(argv):\n"
        f"    with open({str(tmp_path / 'result')!r}, 'w') as file:\n"
        "        os.write(1, b'stray')\n"
        "        os.write(2, b'stray')\n"
        "        print('stray', flush=True)\n"
        "        file.write('result')\n"
        "    return 0\n"
        "module = types.SimpleNamespace(main=main)\n"
        "sys.modules['clinometer.tools.versions'] = module\n"
        "sys.exit(cli.main(['version']))"
    )
    command = ["bash", "-c", '"$@" <&- >&- 2>&-', "bash", sys.executable, "-c", code]
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "result").read_text() == "result"


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("command", [("version",), ("count", "--help"), _COUNT])
def test_a_reader_that_leaves(command, buffered):
    environment = {"PYTHONUNBUFFERED": buffered}
    shell = "| true; exit ${PIPESTATUS[0]}"
    done = run(*command, shell=shell, environment=environment)
    assert (done.returncode, done.stderr) == (0, "")


def test_work_that_a_leaving_reader_cuts_off_is_not_done():
    code = (
        "import sys, types\n"
        "from clinometer.tools import cli\n"
        "def main(argv):\n"
        "    while True:\n"
        "        print('x' * 100_000)\n"
        "module = types.SimpleNamespace(main=main)\n"
        "sys.modules['clinometer.tools.study.main'] = module\n"
        "sys.exit(cli.main(['study']))"
    )
    command = [
        *("bash", "-c", '"$@" | head -c 9; exit ${PIPESTATUS[0]}', "bash"),
        *(sys.executable, "-c", code),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (exit_codes.READER_LEFT, "")


@pytest.mark.parametrize("buffered", ["", "1"])
@pytest.mark.parametrize("command", [("version",), ("--help",)])
def test_a_full_disk_is_said(command, buffered):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    environment = {"PYTHONUNBUFFERED": buffered}
    done = run(*command, shell=">/dev/full", environment=environment)
    assert done.returncode == 1
    name = "clinometer version" if command == ("version",) else "clinometer"
    reason = "cannot write the output: No space left on device"
    assert done.stderr == f"{name}: {reason}\n"


@pytest.mark.parametrize("command", [("--help",), ("version",)])
def test_a_closed_output_is_no_error(command):
    done = run(*command, shell=">&-", environment={})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "settings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONUTF8": "0", "LC_ALL": "C"},
        {"PYTHONWARNINGS": "error::UserWarning"},
    ],
)
@pytest.mark.slow
def test_settings_of_python_change_nothing(settings):
    expected = counts.count("transformer-PI").to_dict()
    done = run(*_COUNT, environment=settings)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("level", ["1", "2"])
def test_haiku_without_assertions_would_name_parameters_differently(level):
    done = run(*_COUNT, environment={"PYTHONOPTIMIZE": level})
    assert_one_line(done)
    assert "unset PYTHONOPTIMIZE" in done.stderr
    done = run("version", environment={"PYTHONOPTIMIZE": level})
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "settings", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONOPTIMIZE": "2"}]
)
@pytest.mark.slow
def test_help_in_ascii_and_without_docstrings(settings):
    """All commands run in one process, since starting a process takes long."""
    code = (
        "from clinometer.tools import cli\n"
        "for name in sorted(cli.SUBCOMMANDS):\n"
        "    try:\n"
        "        print(name, cli.main([name, '--help']), flush=True)\n"
        "    except SystemExit as stop:\n"
        "        print(name, stop.code, flush=True)\n"
    )
    environment = {**os.environ, **settings}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    found = dict(re.findall(r"^([a-z-]+) (\d)$", done.stdout, re.MULTILINE))
    assert set(found) == set(cli.SUBCOMMANDS)
    without_models = {
        *("bench", "compare", "completion", "fetch", "overlap", "report", "tokenize"),
        *("tpu-cost", "version"),
    }
    for name, code in found.items():
        helps = "PYTHONOPTIMIZE" not in settings or name in without_models
        assert code == ("0" if helps else "2"), (name, done.stderr)
        assert (f"usage: clinometer {name}" in done.stdout) == helps


def test_names_beyond_the_output_s_encoding():
    done = run(
        *("count", "--model", "transformer-é"),
        environment={"PYTHONIOENCODING": "ascii"},
    )
    assert_one_line(done)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("count", 2),
        *(
            pytest.param(name, 2, marks=pytest.mark.slow)
            for name in ("train", "study", "bench")
        ),
    ],
)
def test_a_device_that_is_not_here_is_a_line(name, code, tmp_path):
    given = {
        "count": _COUNT[1:],
        "train": ("--model", "transformer-PI", "--workdir", "run"),
        "study": ("--sizes", "PI", "--store", "nowhere"),
        "bench": ("--quick", "--op", "light_conv"),
    }[name]
    done = run(name, *given, environment={"JAX_PLATFORMS": "cuda"}, cwd=tmp_path)
    assert_one_line(done, code)
    assert not list(tmp_path.iterdir())
    assert "JAX_PLATFORMS=cuda: JAX has no such device here" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_working_directory_that_is_gone_is_a_line(tmp_path):
    (tmp_path / "gone").mkdir()
    command = [*("bash", "-c", 'rmdir "$PWD"; "$@"', "bash"), sys.executable, "-c"]
    done = subprocess.run(
        [*command, _MORE, "report", "x"],
        cwd=tmp_path / "gone",
        # Without an installed package, the checkout has to be on the path.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_line(done)
    assert "the working directory: No such file or directory" in done.stderr


def test_a_file_of_one_s_own_that_is_none_is_a_line(tmp_path):
    settings = {"CLINOMETER_ARCHITECTURES": str(tmp_path / "nowhere.py")}
    done = run("count", "--model", "nowhere-pico", environment=settings)
    assert_one_line(done)
    assert "nowhere.py' is not a Python file" in done.stderr


_NUMBERS = ("18446744073709551616", "1e999", "nan", "-inf", "-1", "", "x", "9" * 5000)
# The arguments that each command needs before it checks its other options.
_COMMANDS = {
    "count": ["--model", "transformer-PI"],
    "bench": ["--quick", "--op", "nothing"],
    "study": ["--sizes", "nothing"],
    "evaluate": ["nowhere"],
    "fewshot": ["nowhere", "--data", "nowhere"],
    "generate": ["nowhere", "a prompt"],
    "finetune": ["--from", "nowhere", "--mixture", "rte"],
    "tokenize": ["nowhere", "--output", "{folder}/store"],
    "overlap": ["nowhere", "--tasks", "rte"],
    "train": ["--model", "transformer-PI", "--workdir", "{folder}/run"],
    "report": ["{folder}/nowhere"],
    "import-results": ["{folder}/nowhere.csv"],
    "laws": ["{folder}/nowhere"],
    "recommend": ["{folder}/nowhere", "--flops", "1e15"],
    "verify": ["{folder}/nowhere", "--against", "t5-base"],
    "compare": ["{folder}/nowhere", "{folder}/other"],
    "diagnose": ["{folder}/nowhere"],
    "export": ["{folder}/nowhere", "--to", "{folder}/exported"],
    "convert": ["--from", "{folder}/nowhere", "--to", "{folder}/run"],
    "fetch": ["nothing"],
    "plan": ["--models", "transformer-pico", "--topology", "nowhere"],
    "bench-steps": ["transformer-picco"],
}


def _options(name, capsys):
    """Returns the options of a command that take a value, from its --help."""
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    text = capsys.readouterr().out
    return sorted(
        set(re.findall(r"^  (?:-\w, )?(--[a-z-]+) [A-Z]", text, re.MULTILINE))
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", _COMMANDS)
def test_bad_values_of_every_option_are_a_line(name, tmp_path, capsys):
    """Runs in this process, since starting hundreds of processes would take long."""
    given = [word.format(folder=tmp_path) for word in _COMMANDS[name]]
    (tmp_path / "file").touch()
    paths = (str(tmp_path / "file" / "x"), "x" * 300, str(tmp_path / "nowhere" / "x"))
    options = _options(name, capsys)
    if name in ("train", "finetune"):
        options += ["--config.seed", "--config.z_loss", "--config.data.store"]
    tried = 0
    for option in options:
        for value in (*_NUMBERS, *paths):
            try:
                code = cli.main([name, *given, f"{option}={value}"])
            except SystemExit as stop:
                code = stop.code
            said = capsys.readouterr()
            assert code in (1, 2), (option, value, said)
            last = said.err.strip().splitlines()[-1]
            assert last.startswith(f"clinometer {name}: "), (option, value, said.err)
            tried += 1
    assert tried >= 11
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


def test_every_command_is_tried():
    # The first four have no options with values, and `tpu-cost` needs libtpu.
    others = {"completion", "version", "status", "runs", "tpu-cost"}
    assert set(_COMMANDS) | others == set(cli.SUBCOMMANDS)
