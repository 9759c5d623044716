"""Tests studies of images: their settings, their commands and what is refused."""

import pytest

from clinometer import models
from clinometer.models.counting import counts
from clinometer.tests.tools.study import test_dry_run
from clinometer.tests.train import conftest
from clinometer.tools.plan import planning
from clinometer.tools.plan import request
from clinometer.tools.report import build
from clinometer.tools.study import errors as study_errors
from clinometer.tools.study import images
from clinometer.tools.study import main
from clinometer.tools.study import options as options_lib
from clinometer.tools.study import phases
from clinometer.tools.study import plan
from clinometer.tools.study import record_folder
from clinometer.tools.study import shapes
from clinometer.tools.study import source
from clinometer.tools.study import study_config
from clinometer.tools.study import summary
from clinometer.tools.study.configs import study
from clinometer.tools.study.configs import vit_digits
from clinometer.train import config as config_lib
from clinometer.train import errors
from clinometer.train import main as train
from clinometer.train.fewshot import main as fewshot
from clinometer.train.run import directory as run_directory
from clinometer.train.run import json_file

MODEL = "vit-NL2-DM16-NH2-KV8-FF32-S"
RUN = plan.PlannedRun(MODEL, 100, order=1, learning_rate=0.01, fixed_rate=0.01)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of three classes, of which a study trains on two."""
    place = tmp_path_factory.mktemp("images")
    conftest.write_images(place, 20)
    return place


def _options(folder, place):
    return options_lib.parse(
        [
            f"--out={place / 'study'}",
            f"--records={place / 'records'}",
            "--config.architectures=('vit',)",
            f"--config.sizes=('{MODEL.removeprefix('vit-')}',)",
            "--config.protocol.kind=images",
            "--config.protocol.batch_size=4",
            "--config.protocol.learning_rate=0.01",
            "--config.design.orders=(1,)",
            "--steps=3",
            f"--config.images.folder={folder}",
            "--config.images.classes=blue,green",
            "--config.images.size=8",
            "--config.images.patch_size=4",
            "--config.images.validation_share=0.25",
            "--config.fewshot.shots=(1,2)",
        ]
    )


@pytest.fixture
def options(folder, tmp_path):
    return _options(folder, tmp_path)


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """The options of a study whose only run is trained and not scored."""
    options = _options(folder, tmp_path_factory.mktemp("trained"))
    (work,) = phases.pretrainings(options, [RUN], str(folder))
    assert train.main(list(work.arguments[2:])) == 0
    return options


def test_a_run_is_the_trainers_with_the_images_of_the_study(options, folder):
    protocol = options.study.protocol
    place = source.ensure(protocol, None)
    assert place == str(folder)
    (work,) = phases.pretrainings(options, [RUN], place)
    config, *overrides = [x for x in work.arguments if x.startswith("--config")]
    read = config_lib.load(config.removeprefix("--config="), overrides)
    assert read.kind == "classification" and read.model.name == MODEL
    assert (read.model.image_height, read.model.image_width) == (8, 8)
    assert (read.model.patch_size, read.data.classes) == (4, "blue,green")
    assert (read.data.folder, read.data.order) == (str(folder), 1)
    assert read.schedule.name == "wsd" and read.optimizer.name == "adamw"
    assert not work.finished and work.trains


def test_the_counts_are_those_of_its_classes_and_size(options):
    expected = counts.count(
        MODEL,
        batch_size=4,
        trace=False,
        num_classes=2,
        image_height=8,
        image_width=8,
        patch_size=4,
    )
    found = phases.count(options, MODEL)
    assert found.params_total == expected.params_total
    assert found.flops_train_step == expected.flops_train_step


def test_depths_have_rates_of_their_own():
    deep, shallow = (
        shapes.of(f"vit-{size}") for size in (vit_digits.DEEP, vit_digits.SHALLOW)
    )
    assert (deep.layers, deep.width) == ((8, 0), 48)
    assert (shallow.layers, shallow.width) == ((2, 0), 96)


def test_both_depths_on_digits_cost_the_same():
    config = vit_digits.get_config()
    read = study_config.read(config)
    flops = {
        size: counts.count(
            f"vit-{size}",
            batch_size=1,
            trace=False,
            num_classes=5,
            **read.protocol.images.model_fields,
        ).flops_train_step
        for size in config.sizes
    }
    deep, shallow = flops[vit_digits.DEEP], flops[vit_digits.SHALLOW]
    assert deep == pytest.approx(shallow, rel=1e-3)
    assert [run.order for run in read.runs] == [1, 2, 3, 1, 2, 3]
    trained, scored = (
        set(text.split(","))
        for text in (read.protocol.images.classes, read.protocol.fewshot.classes)
    )
    assert not trained & scored


def test_a_finished_run_is_scored_once_and_then_kept(options, trained, folder):
    assert phases.scorings(options, [RUN], str(folder)) == []  # It is not trained.
    options = trained
    (work,) = phases.pretrainings(options, [RUN], str(folder))
    assert work.finished
    (work,) = phases.scorings(options, [RUN], str(folder))
    assert not work.finished and not work.trains
    record_folder.keep_run(options, work.folder)
    kept = record_folder.path_of(options) / "runs" / RUN.name
    assert not kept.exists()  # Its features could not be scored from the record.
    assert fewshot.main(list(work.arguments[2:])) == 0
    (work,) = phases.scorings(options, [RUN], str(folder))
    assert work.finished
    record_folder.keep_run(options, work.folder)
    record = run_directory.RunDirectory(kept).record()
    assert [one.mixture for one in record.evaluations] == [
        "fewshot",
        "fewshot-random-features",
        "fewshot-shuffled-labels",
    ]
    assert record.evaluations[0].options["folder"] == folder.name
    report = build.build(options.out)
    assert {(one.kind, one.shots) for one in report.fewshot} == {
        (one.mixture, shots) for one in record.evaluations for shots in (1, 2)
    }
    assert "Few-shot accuracy" in report.page.read_text(encoding="utf-8")
    score = record.evaluations[0].tasks["2-shot"].score
    told = (
        f"{record.model}: 2-shot {score:.1f} % (error unknown), trained features, 1 run"
    )
    assert told in summary.render(report)
    assert not images.FewShotSettings(shots=(1, 3)).is_of(record)
    assert not images.FewShotSettings(shots=(1, 2), seeds=(5,)).is_of(record)


def test_other_images_in_the_same_folder_are_refused(trained, tmp_path):
    conftest.write_images(tmp_path / "other", 25)
    with pytest.raises(study_errors.StudyError, match="data.train_sha256 = "):
        phases.pretrainings(trained, [RUN], str(tmp_path / "other"))


def test_a_dry_run_names_runs_and_scores(capsys):
    argv = ["--config", vit_digits.__file__]  # Its rates are in the table.
    assert main.main([*argv, "--dry-run"]) == 0
    table = capsys.readouterr().out
    assert "total of 6 runs" in table
    assert "Few-shot evaluation with 1, 5, 10, 25 images of each class: 6 ru" in table
    assert main.main([*argv, "--dry-run=commands"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12 and "train.fewshot.main" in lines[1]
    assert "--config.schedule.learning_rate=0.001875" in lines[0]
    assert "--classes=5,6,7,8,9" in lines[1] and "--controls" in lines[1]
    assert main.main([*argv, "--power"]) == 1
    assert "--power: simulates studies of texts only" in capsys.readouterr().err


def test_a_dry_run_plans_the_models_of_the_study(capsys, monkeypatch):
    asked = []

    def plans(requests, target, **options):
        asked.extend(requests)
        return test_dry_run.plans(requests, target, **options)

    monkeypatch.setattr(planning, "plans", plans)
    argv = ["--config", vit_digits.__file__, "--learning-rate", "0.001"]
    assert main.main([*argv, "--dry-run", "--topology=v5e:2x2"]) == 0
    assert "chip-hours" in capsys.readouterr().out
    assert [one.model for one in asked] == [
        models.build(f"vit-{size}").name
        for size in (vit_digits.SHALLOW, vit_digits.DEEP)
    ]
    first = asked[0]
    assert (first.batch_size, first.encoder_length) == (32, None)
    assert first.model_fields["num_classes"] == 5
    assert (first.shape.height, first.shape.width) == (16, 16)
    json = first.to_json()
    assert request.Request(**json) == first and json["decoder_length"] is None


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [
        ("images", "protocol.encoder_length", 64),
        ("images", "protocol.vocab_size", 512),
        ("images", "downstream.train_steps", 5),
        ("short", "images.folder", "digits"),
        ("papers", "fewshot.classes", "1,2"),
        ("papers", "protocol.decay_fraction", 0.1),
    ],
)
def test_fields_of_other_kinds_are_refused(kind, key, value):
    config = study.get_config()
    config.protocol.kind = kind
    group, name = key.split(".")
    config[group][name] = value
    place = group if group != "protocol" else key
    with pytest.raises(
        errors.ConfigError, match=f"config.{place}: must not be set for the kind"
    ):
        study_config.read(config)


def test_one_folder_has_one_store_and_one_evaluation(tmp_path, capsys):
    config = vit_digits.get_config()
    config.store = "texts"
    with pytest.raises(errors.ConfigError, match="config.store: must not be set"):
        study_config.read(config)
    argv = ["--config", vit_digits.__file__, "--out", str(tmp_path)]
    made = options_lib.parse(argv).study.protocol
    settings = made.settings() | made.fewshot.settings() | {"study.role": None}
    settings |= {"schedule.learning_rate": 1e-3}
    json_file.write(tmp_path / "study.json", {"settings": settings})
    assert main.main([*argv, "--config.fewshot.classes=5,6"]) == 1
    assert "fewshot.classes = '5,6,7,8,9'; this one" in capsys.readouterr().err


def _refused(words, capsys, **changes):
    argv = ["--config", vit_digits.__file__, "--learning-rate=0.01", "--dry-run"]
    argv += [f"--config.{key}={value}" for key, value in changes.items()]
    assert main.main(argv) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_bad_input_is_one_line(capsys, tmp_path):
    _refused("a model of texts", capsys, architectures=("transformer",), sizes=("PI",))
    _refused("patch_size: 5 does not divide", capsys, **{"images.patch_size": 5})
    _refused("no class 'x'", capsys, **{"images.classes": "0,x"})
    _refused("is not a folder", capsys, **{"images.folder": str(tmp_path / "none")})
    argv = ["--config.architectures=('vit',)", "--config.sizes=('S',)", "--dry-run"]
    assert main.main(["--learning-rate=0.01", *argv]) in (1, 2)
    assert "a model of images, but config.protocol.kind" in capsys.readouterr().err
    assert main.main(["--config.protocol.kind=images", *argv, "--learning-rate=1"]) == 2
    assert "config.images.folder: none" in capsys.readouterr().err
