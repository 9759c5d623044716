"""Tests of checkpoints of states that are spread over devices and processes.

`checkpoint_child` runs in processes with devices of their own.
"""

import json
import shutil

import pytest

from clinometer.data import paths
from clinometer.tests.train import processes

_MODULE = "clinometer.tests.train.run.checkpoint_child"
# Step, parameters and slots; three stacks of three layers.
_LEAVES = 1 + (1 + 9 * 2) + (2 + 9 * 3 + 9 * 2)
# Beyond these sizes glibc returns freed memory to the system. By default it adapts
# them, and so keeps arrays of up to 32 MB, as large as those of the test.
_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}


def _run(folder, command, *, num_processes=1, num_devices=1, **environment):
    """Runs commands in processes and returns the results of each process."""
    folder.mkdir()
    flags = f"--xla_force_host_platform_device_count={num_devices}"
    commands = [processes.python(_MODULE, *command.split())] * num_processes
    with processes.Group(folder, commands, XLA_FLAGS=flags, **environment) as group:
        assert group.wait(300) == [0] * num_processes, group.tails()
        return [
            json.loads(group.output(index).splitlines()[-1])
            for index in range(num_processes)
        ]


def _check_restored(result, largest_share):
    assert result["wrong"] == []
    assert result["wrong for another step"] >= 10
    assert result["continued wrong"] == []
    assert result["placed"]
    assert result["digests"] == _LEAVES
    assert max(result["shares"]) < largest_share
    assert result["progress"] == {"process": 0}


@pytest.mark.slow
def test_restored_on_other_meshes_and_in_the_other_form(tmp_path):
    path = tmp_path / "c"
    ((saved, restored, loop, *chain),) = _run(
        tmp_path / "logs",
        f"save {path} 2,2,2 + restore {path} 1,2,1 1,2,2 1,1,1 + "
        f"restore_loop {path} 1,2,1 + newest {path} 1,2,1 + newest {path} 1,2,2",
        num_devices=8,
    )
    assert saved == {"steps": [1, 2], "copied": 1.0}
    # The scales and counts are not divided.
    for mesh, share in {"1,2,1": 0.53, "1,2,2": 0.3, "1,1,1": 1.1}.items():
        _check_restored(restored[mesh], share)
    assert restored["1,1,1"]["shares"] == [1.0]
    assert loop == {"wrong": [], "params wrong": [], "optimizer": 0}
    # From 8 to 2, whose state is saved as step 3, to 4 devices.
    assert [found["wrong"] for found in chain] == [[], []]
    assert [found["steps"] for found in chain] == [[2, 3], [3, 4]]


@pytest.mark.slow
def test_two_processes_and_one(tmp_path):
    path, other = tmp_path / "c", tmp_path / "other"
    two = _run(
        tmp_path / "logs-1",
        f"save {path} 1,2,1 + restore {path} 1,2,1 1,1,2 + "
        f"save {tmp_path / 'replicated'} 2,1,1",
        num_processes=2,
    )
    for kind in (0, 2):  # Divided, and copied to each process.
        assert [result[kind]["steps"] for result in two] == [[1, 2]] * 2
        copied = [result[kind]["copied"] for result in two]
        assert sum(copied) == pytest.approx(1, rel=1e-9) and max(copied) < 0.7
    for _, restored, _ in two:
        for result in restored.values():
            _check_restored(result, 0.6)
    both = sum(result[1]["1,2,1"]["bytes_read"] for result in two)
    for _, restored, _ in two:  # Each reads its own chunks.
        assert restored["1,2,1"]["bytes_read"] < 0.7 * both

    ((restored, saved),) = _run(
        tmp_path / "logs-2", f"restore {path} 1,1,1 + save {other} 1,1,1"
    )
    _check_restored(restored["1,1,1"], 1.1)

    damaged = [tmp_path / name for name in ("flipped", "gone", "meta", "unreadable")]
    for folder in damaged:
        shutil.copytree(path, folder)
    for file in (damaged[0] / "2/state/ocdbt.process_1/d").iterdir():
        file.write_bytes(bytes(255 - byte for byte in file.read_bytes()))
    shutil.rmtree(damaged[1] / "2/state/ocdbt.process_1")
    (damaged[2] / "2/meta/metadata").write_text("{")
    commands = [f"restore {other} 1,2,1", f"newest_but_one {damaged[3]} 1,2,1"]
    commands += [f"newest {folder} 1,2,1" for folder in damaged[:3]]
    for result in _run(tmp_path / "logs-3", " + ".join(commands), num_processes=2):
        _check_restored(result[0]["1,2,1"], 0.6)
        assert result[1:] == [{"step": 1, "wrong": [], "steps": [1, 2]}] * 4
    for folder in damaged:
        assert (folder / "2.corrupt").is_dir()


@pytest.mark.slow
def test_two_processes_and_an_object_store(tmp_path, objects):
    url = "s3://bucket/run/checkpoints"
    for saved, restored in _run(
        tmp_path / "logs-1",
        f"save {url} 1,2,1 + restore {url} 1,1,2",
        num_processes=2,
    ):
        assert saved["steps"] == [1, 2]
        _check_restored(restored["1,1,2"], 0.6)
    # The files are whole: on a disk, they are a checkpoint as well.
    local = tmp_path / "local"
    names = paths.files_below(url)
    assert any(name.startswith("2/state/ocdbt.process_1/d/") for name in names)
    for name in names:
        (local / name).parent.mkdir(parents=True, exist_ok=True)
        paths.download(f"{url}/{name}", local / name)
    ((remote, copied),) = _run(
        tmp_path / "logs-2", f"restore {url} 1,1,1 + restore {local} 1,1,1"
    )
    for result in (remote, copied):
        _check_restored(result["1,1,1"], 1.1)


@pytest.mark.slow
def test_a_folder_that_is_not_shared(tmp_path):
    for (said,) in _run(tmp_path / "logs", f"apart {tmp_path} 1,1,1", num_processes=2):
        assert said.startswith("process 1 does not see the files of process 0 in ")
        assert "a file system that they share or in an object store" in said


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [1, 2])
def test_the_memory_of_saving_and_restoring(tmp_path, num_processes, record_property):
    results = _run(
        tmp_path / "logs",
        f"memory {tmp_path / 'c'} 1,2,1",
        num_processes=num_processes,
        num_devices=2 // num_processes,
        **_MALLOC,
    )
    for index, (result,) in enumerate(results):
        print(f"process {index} of {num_processes}: {result}")
        record_property(f"process {index}", result)
        assert result["megabytes"] > 100
        # The copy of this process's part of the state, which shows that the measurement
        # sees it, and little else.
        assert 0.8 < result["peak of saving"] < 1.2
        # The state, and a few leaves at a time.
        assert 0.8 < result["peak of restoring"] < 1.4
