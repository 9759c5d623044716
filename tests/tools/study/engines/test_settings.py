"""Tests `config.executor`: its defaults, its values and what is refused."""

import pytest

from clinometer.tools.study import options


def _engine(*argv):
    return options.parse([*argv]).study.engine


def test_the_local_executor_is_the_default(capsys):
    assert _engine().name == "local"
    assert _engine("--executor", "ray").name == "ray"
    assert _engine("--config.executor.name=slurm").name == "slurm"
    assert options.parse(["--executor", "ray"]).jobs is None
    assert options.parse(["--executor", "ray", "--jobs", "3"]).jobs == 3


def test_values_reach_the_executor(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from clinometer.tools.study.configs import study\n"
        "def get_config():\n"
        "    config = study.get_config()\n"
        "    config.executor.name = 'slurm'\n"
        "    config.executor.hosts = 2\n"
        "    config.executor.gpus = 8\n"
        "    config.executor.slurm.options.qos = 'low'\n"
        "    config.executor.ray.resources.slot = 1.5\n"
        "    return config\n"
    )
    found = _engine("--config", f"{tmp_path / 'mine.py'}")
    assert (found.name, found.hosts, found.gpus) == ("slurm", 2, 8)
    assert found.slurm_options == {"qos": "low"}
    assert found.ray_resources == {"slot": 1.5}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--executor", "dask"], "invalid choice: 'dask'"),
        (["--config.executor.name=dask"], "config.executor.name: unknown 'dask'"),
        (["--config.executor.cpus=2"], "config.executor.cpus: got 2; only for ray"),
        (["--config.executor.gpus=1"], "config.executor.gpus: got 1; only for ray"),
        (
            ["--executor", "ray", "--config.executor.hosts=2"],
            "config.executor.hosts: got 2; a run that spans hosts needs",
        ),
        (["--config.executor.slurm.minutes=0"], "must be at least 1"),
        (["--config.executor.slurm.minutes=2"], "less than the 2 minutes"),
        (["--config.executor.ray.address=ray://x"], "accepted: HOST:PORT, or auto"),
    ],
)
def test_what_is_refused(argv, words, capsys):
    with pytest.raises(SystemExit) as stop:
        options.parse(argv)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_impossible_options_and_resources_are_refused(tmp_path, capsys):
    for line, words in (
        ("ray.resources.slot = 0.0", "config.executor.ray.resources.slot: must be"),
        ("slurm.options.qos = 1.5", "config.executor.slurm.options.qos: got 1.5"),
    ):
        (tmp_path / "mine.py").write_text(
            "from clinometer.tools.study.configs import study\n"
            "def get_config():\n"
            "    config = study.get_config()\n"
            f"    config.executor.{line}\n"
            "    return config\n"
        )
        with pytest.raises(SystemExit) as stop:
            options.parse(["--config", f"{tmp_path / 'mine.py'}"])
        assert stop.value.code == 2
        assert words in capsys.readouterr().err
