"""Tests the command line of `clinometer study`: lists, defaults, the config, errors."""

import pathlib

import pytest

from clinometer import models
from clinometer.tools.study import cores
from clinometer.tools.study import options


def _names(parsed):
    return [run.name for run in parsed.study.runs]


def test_defaults_are_the_first_study():
    parsed = options.parse([])
    sizes = ("DM16-NH1-FF64-PI", "pico", "DM64-NH4-FF256-PI", "milli")
    assert _names(parsed) == [
        f"transformer-{size}-o{k}-s{100 * k}" for size in sizes for k in (1, 2)
    ]
    assert parsed.study.protocol.train_steps == 3000
    assert parsed.jobs == min(2, cores.count())
    assert parsed.study.learning_rate is None  # From the table.
    assert parsed.out == pathlib.Path("runs/study").absolute()
    assert parsed.keep_going and not parsed.dry_run and not parsed.tune
    assert parsed.study.store is parsed.study.claims is parsed.max_hours is None


def test_lists_take_blanks_and_commas():
    argv = ["--sizes", "pico, NL4-NA\tmicro", "--seeds", "0,2 4"]
    sizes = ("pico", "NL4-NA", "micro")
    assert _names(options.parse(argv)) == [
        f"transformer-{size}-s{seed}" for size in sizes for seed in (0, 2, 4)
    ]
    parsed = options.parse(["--archs", "all"])
    assert parsed.study.architectures == tuple(models.ARCHITECTURES)


def test_options_come_before_overrides_and_those_before_the_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from clinometer.tools.study.configs import study\n"
        "def get_config():\n"
        "    config = study.get_config()\n"
        "    config.sizes = ('nano',)\n"
        "    config.design.orders = (1,)\n"
        "    config.protocol.train_steps = 11\n"
        "    config.protocol.learning_rate = 0.25\n"
        "    config.downstream.mixture = ''\n"
        "    return config\n"
    )
    file = f"--config={tmp_path / 'mine.py'}"
    parsed = options.parse([file])
    assert _names(parsed) == ["transformer-nano-o1-s100"]
    assert parsed.study.protocol.downstream.mixture == ""
    assert parsed.study.learning_rate == 0.25
    override = "--config.protocol.train_steps=22"
    study = options.parse([file, override]).study
    assert (study.protocol.train_steps, study.learning_rate) == (22, 0.25)
    parsed = options.parse([file, override, "--steps", "33", "--seeds", "5"])
    assert parsed.study.protocol.train_steps == 33
    assert _names(parsed) == ["transformer-nano-s5"]


def test_every_option_reaches_the_study():
    parsed = options.parse(
        [
            *("--archs", "switch", "--sizes", "pico"),
            *("--seeds", "3", "--replicate", "4", "--max-hours", "0.5"),
            *("--replicate-largest", "--steps", "7", "--learning-rate", "0.5"),
            *("--store", "here", "--downstream", "rte"),
            *("--downstream-steps", "8", "--data", "there"),
        ]
    )
    study = parsed.study
    assert _names(parsed) == ["switch-pico-s3", "switch-pico-s4"]
    orders = options.parse(["--sizes", "pico nano", "--orders", "2 1"])
    assert _names(orders) == [
        *("transformer-pico-o1-s100", "transformer-pico-o2-s200"),
        "transformer-nano-o1-s100",
    ]
    assert (study.protocol.train_steps, study.learning_rate) == (7, 0.5)
    assert study.store == str(pathlib.Path("here").absolute())
    study = options.parse(["--rates", "rates.json"]).study
    assert study.rates == str(pathlib.Path("rates.json").absolute())
    downstream = parsed.study.protocol.downstream
    assert (downstream.mixture, downstream.train_steps) == ("rte", 8)
    assert downstream.data == str(pathlib.Path("there").absolute())
    assert parsed.max_hours == 0.5


@pytest.mark.parametrize(
    "argv, words",
    [
        (["--jobs", "0"], "must be at least 1"),
        (["--steps", "many"], "accepted: a whole number"),
        (["--seeds", "a"], "accepted: a whole number"),
        (["--seeds", "0 4294967296"], "must be at most 4294967295"),
        (["--replicate", "-1"], "must not be negative"),
        (["--replicate", "1"], "no seeds given"),
        (["--orders", "0"], "must be at least 1"),
        (["--orders", "1 2"], "orders has 2 numbers and sizes has 4"),
        (["--orders", "1", "--seeds", "1"], "config.design.seeds: got (1,); must be"),
        (["--learning-rate", "nan"], "must be a finite number"),
        (["--learning-rate", "0"], "must be positive"),
        (["--max-hours", "0"], "must be positive"),
        (["--downstream-steps", "1e999"], "accepted: a whole number"),
        (["--out", "/dev/null/x"], "--out: /dev/null is a file, not a folder"),
        (["--out", "x" * 300], "has 300 bytes"),
        (["--out", ""], "accepted: a path"),
        (["--stepz", "3"], "unrecognized"),
        (["--sizes", ""], "no sizes given"),
        (["--config", "nowhere.py"], "no file 'nowhere.py'"),
        (["--config.protocol.train_step=3"], "unknown key 'train_step'"),
        (["--config.protocol.train_steps=x"], "accepted: a whole number"),
        (["--config.design.seeds=3"], "accepted: a tuple"),
        (["--config.sizes=('pico',)", "--stepz"], "unknown argument '--stepz'"),
        (["--tune", "--learning-rate", "0.1"], "--tune: must not be given with"),
        (["--tune", "--dry-run"], "--tune: must not be given with --dry-run"),
        (["--tune", "--max-hours", "1"], "--tune: must not be given with --max-hours"),
        (["--rates", "x", "--learning-rate", "1"], "--rates: must not be given with"),
    ],
)
def test_bad_options_exit_with_2(argv, words, capsys):
    with pytest.raises(SystemExit) as caught:
        options.parse(argv)
    assert caught.value.code == 2
    assert words in capsys.readouterr().err
