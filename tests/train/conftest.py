"""A token store and a configuration small enough to train in a test."""

from collections.abc import Callable
from collections.abc import Iterator
import functools
import os
import pathlib
from typing import Any

import jax
from ml_collections import config_dict
import numpy as np
from PIL import Image
import pytest

from clinometer.data.store import tokenization
from clinometer.kernels.bench import matmul_rate
from clinometer.kernels.cpu import bfloat16
from clinometer.models.counting import checked
from clinometer.train import config as config_lib
from clinometer.train import job as job_lib
from clinometer.train import loop

_CONFIG_FILE = "train/configs/pretrain.py"
_OVERRIDES = (
    "data.batch_size=4",
    "data.encoder_length=32",
    "train_steps=8",
    "model.num_encoder_layers=1",
    "model.num_decoder_layers=1",
    "model.d_model=16",
    "model.d_ff=32",
    "schedule.name=constant",  # So that runs of any length share one program.
    "schedule.learning_rate=0.03",
    "log.every_steps=3",
    "log.health_every_steps=4",
    "log.trackers=",
    "eval.every_steps=4",
    "eval.max_rows=4",
    "checkpoint.every_steps=4",
)

_IMAGE_CONFIG_FILE = "train/configs/classify.py"
_IMAGE_OVERRIDES = (
    "model.image_height=8",
    "model.image_width=8",
    "model.patch_size=4",
    "model.dropout_rate=0.1",
    "data.batch_size=8",
    "data.validation_share=0.2",
    "train_steps=8",
    "schedule.name=constant",
    "schedule.learning_rate=0.01",
    "log.every_steps=3",
    "log.health_every_steps=4",
    "log.trackers=",
    "eval.every_steps=4",
    "checkpoint.every_steps=4",
)


def write_images(folder: pathlib.Path, each: int) -> None:
    """Writes noisy images of 10 x 10 pixels, each class brighter in one colour."""
    rng = np.random.default_rng(0)
    for channel, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 100, (10, 10, 3), np.uint8)
            pixels[..., channel] += 100
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def write_store(folder: pathlib.Path, seed: int, documents: int = 30) -> pathlib.Path:
    """Tokenises a little random text."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(rng.choice(letters, 5)) for _ in range(100)]
    source = folder / "text"
    source.mkdir()
    for index in range(documents):
        (source / f"{index}.txt").write_text(" ".join(rng.choice(words, 200)))
    store = folder / "store"
    options = tokenization.TokenizationOptions(vocab_size=200, validation_fraction=0.2)
    tokenization.tokenize_corpus([str(source)], str(store), options=options)
    return store


@pytest.fixture(autouse=True)
def _every_processor_multiplies_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes configurations mean the same on every machine."""
    monkeypatch.setattr(bfloat16, "is_multiplied", lambda: True)


@pytest.fixture(scope="session", autouse=True)
def _compilation_cache() -> Iterator[None]:
    """Compiles each program once and in haste, in the tests' own processes too."""
    settings = {
        "jax_disable_most_optimizations": True,
        "jax_compilation_cache_dir": os.environ["CLINOMETER_TEST_PROGRAMS"],
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    before = {name: jax.config.values[name] for name in settings}
    for name, value in settings.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)
    yield
    for name, value in before.items():
        jax.config.update(name, value)
        del os.environ[name.upper()]


@pytest.fixture(scope="session", autouse=True)
def _counted_once() -> Iterator[None]:
    """Traces each model once for its counts, which many runs share."""
    kept = functools.cache(checked.count)

    def count(with_form: Callable[..., Any], *arguments: Any) -> Any:
        return kept(_Form(with_form), *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checked, "count", count)
        yield


class _Form:
    """A model's forms, which are equal if their model is."""

    def __init__(self, with_form: Callable[..., Any]):
        model = with_form()
        self._key = (model.name, model.config)
        self._with_form = with_form

    def __call__(self, **fields: Any) -> Any:
        return self._with_form(**fields)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Form) and self._key == other._key


@pytest.fixture(scope="session", autouse=True)
def _short_calibration() -> Iterator[None]:
    """Measures the rate of small products: no test asks what it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(matmul_rate._SIZE, "cpu", (64, 1))
        yield


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A token store of 30 short documents."""
    return write_store(tmp_path_factory.mktemp("corpus"), seed=0)


@pytest.fixture(scope="session")
def arguments(store: pathlib.Path) -> Callable[..., list[str]]:
    """Returns the command line of a tiny run; later overrides win."""

    def build(*overrides: str, model: str = "transformer-pico") -> list[str]:
        fields = (*_OVERRIDES, f"data.store={store}", *overrides)
        return [f"--config={_CONFIG_FILE}:{model}", *(f"--config.{f}" for f in fields)]

    return build


@pytest.fixture(scope="session")
def make_config(
    arguments: Callable[..., list[str]],
) -> Callable[..., config_dict.FrozenConfigDict]:
    """Returns the configuration of a tiny run."""

    def build(*overrides: str) -> config_dict.FrozenConfigDict:
        specification, *fields = arguments(*overrides)
        return config_lib.load(specification.removeprefix("--config="), fields)

    return build


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of 120 small images of three classes, which differ in colour."""
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, 40)
    return folder


@pytest.fixture(scope="session")
def make_image_config(
    image_folder: pathlib.Path,
) -> Callable[..., config_dict.FrozenConfigDict]:
    """Returns the configuration of a tiny run on images."""

    def build(*overrides: str) -> config_dict.FrozenConfigDict:
        fields = (*_IMAGE_OVERRIDES, f"data.folder={image_folder}", *overrides)
        return config_lib.load(
            f"{_IMAGE_CONFIG_FILE}:vit-NL1-DM16-NH2-KV8-FF32-S",
            [f"--config.{field}" for field in fields],
        )

    return build


@pytest.fixture(scope="session")
def image_run(
    make_image_config: Callable[..., config_dict.FrozenConfigDict],
    tmp_path_factory: pytest.TempPathFactory,
) -> pathlib.Path:
    """The run directory of a finished run on images; must not be modified."""
    workdir = tmp_path_factory.mktemp("image_run") / "run"
    assert loop.train(job_lib.prepare(make_image_config()), workdir) == "finished"
    return workdir
