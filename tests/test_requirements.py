"""Tests that the locks agree with pyproject.toml on all versions of Python."""

import re
import tomllib

from packaging import markers
from packaging import requirements
from packaging import utils
import pytest

# Extras that `make setup` installs, and packages that it must not install.
LOCKED = ("train", "study", "convert", "slurm", "dev")
UNLOCKED = (
    "torch",
    "transformers",
    "libtpu",
    "tensorflow",
    "tensorflow-cpu",
    "flax",
    "ray",
)
FOR_GPUS = ("jax-cuda", "nvidia-")  # Prefixes of packages that only GPUs need.
PYTHONS = ("3.11", "3.12", "3.13")


def environment(python: str) -> dict[str, str]:
    """Returns the marker values of a Linux machine with a version of Python."""
    return {
        **markers.default_environment(),
        "python_version": python,
        "python_full_version": f"{python}.1",
        "sys_platform": "linux",
        "platform_machine": "x86_64",
    }


def pins(lock: str, python: str) -> dict[str, requirements.Requirement]:
    """Returns package -> locked requirement for a version of Python."""
    found = {}
    for line in lock.splitlines():
        if line and not line.startswith((" ", "#")):
            pin = requirements.Requirement(line.rstrip("\\ "))
            if pin.marker is None or pin.marker.evaluate(environment(python)):
                name = utils.canonicalize_name(pin.name)
                assert name not in found, f"{name} is pinned twice for {python}"
                found[name] = pin
    return found


def version(pin: requirements.Requirement) -> str:
    """Returns the version of a pinned requirement."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.fixture
def lock(repo_root):
    return (repo_root / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture
def cuda_lock(repo_root):
    return (repo_root / "requirements-cuda.lock").read_text(encoding="utf-8")


@pytest.fixture
def ray_lock(repo_root):
    return (repo_root / "requirements-ray.lock").read_text(encoding="utf-8")


@pytest.fixture
def peer_lock(repo_root):
    return (repo_root / "requirements-peer.lock").read_text(encoding="utf-8")


@pytest.fixture
def mesh_lock(repo_root):
    return (repo_root / "requirements-mesh-tf.lock").read_text(encoding="utf-8")


@pytest.fixture
def project(repo_root):
    text = (repo_root / "pyproject.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_meets_the_ranges(lock, project, python):
    locked = pins(lock, python)
    asked = list(project["project"]["dependencies"])
    for extra in LOCKED:
        asked += project["project"]["optional-dependencies"][extra]
    asked += project["build-system"]["requires"]
    for text in asked:
        wanted = requirements.Requirement(text)
        here = wanted.marker is None or wanted.marker.evaluate(environment(python))
        if wanted.name == "clinometer" or not here:
            continue
        name = utils.canonicalize_name(wanted.name)
        assert name in locked, f"{name} is not in requirements.lock; run `make lock`"
        assert wanted.specifier.contains(version(locked[name])), text


@pytest.mark.parametrize("python", PYTHONS)
def test_the_kernels_are_built_for_the_jaxlib_that_they_run_with(project, python):
    """Both have the same range, in which XLA's FFI has one version: 0.3 or 0.4."""
    asked = project["build-system"]["requires"], project["project"]["dependencies"]
    found = [
        {
            str(wanted.specifier)
            for wanted in map(requirements.Requirement, texts)
            if wanted.name == "jaxlib"
            and (wanted.marker is None or wanted.marker.evaluate(environment(python)))
        }
        for texts in asked
    ]
    expected = "<0.11,>=0.10.2" if python == "3.11" else "<0.12,>=0.11.1"
    assert found == [{expected}] * 2


@pytest.mark.parametrize(
    ("python", "jax"), [("3.11", "0.10."), ("3.12", "0.11."), ("3.13", "0.11.")]
)
def test_each_python_has_its_newest_jax(lock, python, jax):
    locked = pins(lock, python)
    assert version(locked["jax"]).startswith(jax)
    assert version(locked["jax"]) == version(locked["jaxlib"])


@pytest.mark.parametrize("python", PYTHONS)
def test_heavy_packages_stay_out(lock, python):
    locked = set(pins(lock, python))
    assert locked & set(UNLOCKED) == set()
    assert not [name for name in locked if name.startswith(FOR_GPUS)]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_libraries_for_gpus_are_those_of_the_locked_jax(
    lock, cuda_lock, project, python
):
    (extra,) = project["project"]["optional-dependencies"]["cuda"]
    (cuda,) = requirements.Requirement(extra).extras
    locked, added = pins(lock, python), pins(cuda_lock, python)
    for part in ("plugin", "pjrt"):
        assert version(added[f"jax-{cuda}-{part}"]) == version(locked["jaxlib"])
    for name in added.keys() & locked.keys():  # Installing both changes neither.
        assert version(added[name]) == version(locked[name]), name
    others = added.keys() - locked.keys()
    assert len(others) > 10
    assert all(name.startswith(FOR_GPUS) for name in others)


def test_libraries_for_gpus_of_another_jax_are_seen(lock, cuda_lock, project):
    plugin = re.compile(r"^(jax-cuda\d+-plugin)==[\d.]+", re.MULTILINE)
    with pytest.raises(AssertionError):
        test_the_libraries_for_gpus_are_those_of_the_locked_jax(
            lock, plugin.sub(r"\1==0.9.9", cuda_lock), project, "3.11"
        )


@pytest.mark.parametrize("python", PYTHONS)
def test_ray_is_added_to_the_locked_packages(lock, ray_lock, project, python):
    (wanted,) = (
        asked
        for text in project["project"]["optional-dependencies"]["ray"]
        if (asked := requirements.Requirement(text)).name == "ray"
    )
    locked, added = pins(lock, python), pins(ray_lock, python)
    assert wanted.specifier.contains(version(added["ray"]))
    for name in added.keys() & locked.keys():  # Installing both changes neither.
        assert version(added[name]) == version(locked[name]), name


def test_the_peers_are_added_to_the_locked_packages(lock, peer_lock, project):
    locked, added = pins(lock, "3.11"), pins(peer_lock, "3.11")
    asked = map(
        requirements.Requirement, project["project"]["optional-dependencies"]["peer"]
    )
    wanted = {each.name: each.specifier for each in asked}
    for name in ("torch", "transformers"):
        assert version(added[name]).partition("+")[0] in wanted[name]
    assert version(added["torch"]).endswith("+cpu")
    for name in added.keys() & locked.keys():  # Installing both changes neither.
        assert version(added[name]) == version(locked[name]), name


def test_tensorflow_is_added_to_the_locked_packages(lock, mesh_lock, project):
    locked, added = pins(lock, "3.11"), pins(mesh_lock, "3.11")
    for text in project["project"]["optional-dependencies"]["mesh-tf"]:
        wanted = requirements.Requirement(text)
        if wanted.name != "clinometer":
            assert wanted.specifier.contains(version(added[wanted.name])), text
    for name in added.keys() & locked.keys():  # Installing both changes neither.
        assert version(added[name]) == version(locked[name]), name


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("lock", 40),
        ("cuda_lock", 20),
        ("ray_lock", 10),
        ("peer_lock", 20),
        ("mesh_lock", 20),
    ],
)
def test_every_pin_has_hashes(name, least, request):
    blocks = re.split(r"\n(?=\w)", request.getfixturevalue(name))[1:]
    assert len(blocks) > least
    for block in blocks:
        assert "--hash=sha256:" in block, block.splitlines()[0]


def test_a_pin_out_of_range_is_seen(lock, project):
    mutated = re.sub(r"^optax==[\d.]+", "optax==9.9", lock, flags=re.MULTILINE)
    with pytest.raises(AssertionError, match="optax"):
        test_lock_meets_the_ranges(mutated, project, "3.11")
