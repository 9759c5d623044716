"""Saves and restores sharded states, in processes with devices of their own.

    python -m clinometer.tests.train.run.checkpoint_child COMMAND FOLDER MESH ...

Further commands follow after "+". A mesh is given as the sizes of its axes data, fsdp
and model, as in 2,2,2. The last line that a process prints is a list of the results in
JSON. The values of a state follow from its step.
"""

import ctypes
import json
import os
import pathlib
import sys
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from clinometer.data import paths
from clinometer.tests import object_store
from clinometer.tests.train import processes
from clinometer.train import errors
from clinometer.train import state as state_lib
from clinometer.train.run import canonical
from clinometer.train.run import checkpoints
from clinometer.train.run import digests
from clinometer.train.run import disk_writer
from clinometer.train.run import host_copy

IDENTITY = {"seed": 0}
LAYERS = 3


def mesh(sizes: str) -> jax.sharding.Mesh:
    """Returns a mesh of axes "data", "fsdp" and "model" over the first devices."""
    shape = tuple(map(int, sizes.split(",")))
    return jax.make_mesh(
        shape,
        ("data", "fsdp", "model"),
        axis_types=(jax.sharding.AxisType.Auto,) * 3,
        devices=jax.devices()[: int(np.prod(shape))],
    )


def specs(stacks: int = 3) -> state_lib.TrainState:
    """Returns the partition spec of each leaf of `values`."""
    table, w = P("model", "fsdp"), P(None, "fsdp", "model")
    rows, columns = P(None, "fsdp"), P(None, "model")
    params = {"token_embedding": {"table": table}}
    slots = {"token_embedding": {"table": (P(), table)}}
    for module in _modules(stacks):
        params[module] = {"w": w, "scale": P()}
        slots[module] = {"w": (P(), rows, columns), "scale": (P(), P())}
    return state_lib.TrainState(P(), params, slots)


def values(step: int, width: int = 400, stacks: int = 3) -> state_lib.TrainState:
    """Returns a state of NumPy arrays, with random bits that follow from the step."""
    rng = np.random.default_rng(step)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    params = {"token_embedding": {"table": draw(32, 16)}}
    slots = {"token_embedding": {"table": (np.int32(step), draw(32, 16))}}
    counts = np.full(LAYERS, step, np.int32)
    for module in _modules(stacks):
        params[module] = {"w": draw(LAYERS, 16, width), "scale": draw(LAYERS, 8)}
        slots[module] = {
            "w": (counts, draw(LAYERS, 16), draw(LAYERS, width)),
            "scale": (counts, draw(LAYERS, 1)),  # As optax's placeholders.
        }
    return state_lib.TrainState(np.int32(step), params, slots)


def _modules(stacks: int) -> list[str]:
    return [f"encoder/layers/layer/ffn_{i}" for i in range(stacks)]


def placed(
    state: state_lib.TrainState, sizes: str, stacks: int = 3
) -> state_lib.TrainState:
    """Places a state of NumPy arrays on a mesh."""
    on = mesh(sizes)

    def place(array: Any, spec: P) -> jax.Array:
        sharding = jax.sharding.NamedSharding(on, spec)
        array = np.asarray(array)
        made = jax.make_array_from_callback(array.shape, sharding, lambda i: array[i])
        # A program's output owns its memory, unlike arrays made of NumPy arrays.
        return jax.jit(jnp.copy, out_shardings=sharding)(made)

    return jax.tree.map(place, state, specs(stacks))


def abstract(state: Any) -> Any:
    """Returns the shapes, dtypes and shardings of arrays."""
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def run_on(state: state_lib.TrainState, steps: int = 3) -> state_lib.TrainState:
    """Runs steps that overwrite the buffers of the state."""
    shardings = jax.tree.map(lambda x: x.sharding, state)
    step = jax.jit(
        lambda state: jax.tree.map(lambda x: x * 3 + 1, state),
        out_shardings=shardings,
        donate_argnums=0,
    )
    for _ in range(steps):
        state = step(state)
    return jax.block_until_ready(state)


def wrong(state: Any, expected: Any) -> list[str]:
    """Returns the paths of the leaves that differ from those expected in any bit."""

    def same(array: jax.Array, right: Any) -> bool:
        right = np.asarray(right)
        return array.dtype == right.dtype and all(
            np.asarray(shard.data).tobytes() == right[shard.index].tobytes()
            for shard in array.addressable_shards
        )

    leaves = jax.tree_util.tree_leaves_with_path(state)
    rights = jax.tree.leaves(expected)
    return [
        jax.tree_util.keystr(path)
        for (path, leaf), right in zip(leaves, rights, strict=True)
        if not same(leaf, right)
    ]


def shares(state: state_lib.TrainState) -> list[float]:
    """Returns the part of the state's bytes that each local device holds."""
    total = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    held: dict[int, int] = {}
    for leaf in jax.tree.leaves(state):
        for shard in leaf.addressable_shards:
            device = shard.device.id
            held[device] = held.get(device, 0) + shard.data.nbytes
    return [held[device] / total for device in sorted(held)]


def save(folder: paths.AnyPath, sizes: str) -> dict[str, Any]:
    """Saves step 1 on a mesh, and step 2, while steps overwrite the state."""
    manager = checkpoints.Checkpoints(folder, keep_last=2)
    for step in (1, 2):
        state = placed(values(step), sizes)
        manager.save(
            step,
            state,
            identity=IDENTITY,
            progress={"process": jax.process_index()},
        )
        run_on(state)
    manager.close()
    state = placed(values(0), sizes)
    copies = jax.tree.leaves(host_copy.take(state))
    copied = sum(copy.nbytes for copy in copies)
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    return {"steps": manager.steps, "copied": copied / whole}


def restore(folder: paths.AnyPath, *meshes: str) -> dict[str, Any]:
    """Restores the newest step on each mesh, and continues with it."""
    result = {}
    for sizes in meshes:
        manager = checkpoints.Checkpoints(folder, keep_last=2)
        before = placed(values(0), sizes)
        uninterrupted = run_on(placed(values(2), sizes))
        read_before = _bytes_read()
        state, progress = manager.restore(abstract(before), IDENTITY)
        result[sizes] = {
            "progress": progress,
            "bytes_read": _bytes_read() - read_before,
            "wrong": wrong(state, values(2)),
            "wrong for another step": len(wrong(state, values(1))),
            "placed": abstract(state) == abstract(before),
            "shares": shares(state),
            "digests": len(digests.compute(state)),
        }
        continued = run_on(state)
        expected = jax.tree.map(lambda x: x.addressable_shards[0].data, uninterrupted)
        found = jax.tree.map(lambda x: x.addressable_shards[0].data, continued)
        result[sizes]["continued wrong"] = wrong(
            found, jax.tree.map(np.asarray, expected)
        )
        manager.close()
    return result


def restore_loop(folder: paths.AnyPath, sizes: str) -> dict[str, Any]:
    """Restores the state of a model that does not scan its layers."""
    stacked = values(2)
    layers = canonical.to_canonical(stacked)
    slots: dict[str, dict[str, list[Any]]] = {}
    for slot in layers["optimizer"].values():
        for module, leaves in slot.items():
            for name, leaf in leaves.items():
                slots.setdefault(module, {}).setdefault(name, []).append(leaf)
    optimizer = {
        module: {name: tuple(leaves) for name, leaves in named.items()}
        for module, named in slots.items()
    }
    loop = state_lib.TrainState(stacked.step, layers["params"], optimizer)
    everywhere = jax.sharding.NamedSharding(mesh(sizes), P())
    like = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            np.shape(x), np.asarray(x).dtype, sharding=everywhere
        ),
        loop,
    )
    reader = checkpoints.Checkpoints(folder, read_only=True)
    state = reader.read(2, like)
    params = reader.read(2, like._replace(optimizer={}))
    return {
        "wrong": wrong(state, loop),
        "params wrong": wrong(params.params, loop.params),
        "optimizer": len(params.optimizer),
    }


def memory(folder: paths.AnyPath, sizes: str) -> dict[str, Any]:
    """Measures the peak of the memory of a save, in parts of this process's state."""
    state = placed(values(0, width=2**17, stacks=8), sizes, stacks=8)
    manager = checkpoints.Checkpoints(folder, keep_last=1)
    held = sum(
        shard.data.nbytes
        for leaf in jax.tree.leaves(state)
        for shard in leaf.addressable_shards
    )
    result: dict[str, Any] = {"megabytes": held / 1e6}
    for step in (1, 2):  # The first compiles.
        state = state._replace(step=state.step + 1)
        before = _start_measuring()
        manager.save(step, state, identity=IDENTITY, progress={})
        manager.wait()
        result["peak of saving"] = (_memory("VmHWM") - before) / held
    like = abstract(state)
    del state
    before = _start_measuring()
    restored, _ = manager.restore(like, IDENTITY)
    result["peak of restoring"] = (_memory("VmHWM") - before) / held
    manager.close()
    return result


def _start_measuring() -> int:
    """Resets the peak of the memory; returns the memory in use now."""
    ctypes.CDLL(None).malloc_trim(0)  # Returns what is free.
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(field: str) -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith(field))
    return int(line.split()[1]) * 1024


def _bytes_read() -> int:
    name = "/tensorstore/kvstore/file/bytes_read"
    found = tensorstore.experimental_collect_matching_metrics(name)
    return sum(metric["values"][0]["value"] for metric in found)


def newest(folder: paths.AnyPath, sizes: str) -> dict[str, Any]:
    """Restores the newest intact step, and saves the next."""
    manager = checkpoints.Checkpoints(folder, keep_last=2)
    state, _ = manager.restore(abstract(placed(values(0), sizes)), IDENTITY)
    step = int(state.step)
    result = {"step": step, "wrong": wrong(state, values(step))}
    manager.save(manager.steps[-1] + 1, state, identity=IDENTITY, progress={})
    manager.close()
    return {**result, "steps": manager.steps}


def newest_but_one(folder: paths.AnyPath, sizes: str) -> dict[str, Any]:
    """Does as `newest`, while the last process alone cannot read step 2."""
    restore = ocp.PyTreeCheckpointHandler.restore

    def failing(self: Any, directory: Any, **options: Any) -> Any:
        last = jax.process_index() == jax.process_count() - 1
        if last and directory.parent.name == "2":
            raise OSError("read error")
        return restore(self, directory, **options)

    with mock.patch.object(ocp.PyTreeCheckpointHandler, "restore", failing):
        return newest(folder, sizes)


def apart(folder: paths.AnyPath, sizes: str) -> str:
    """Opens a folder that no other process sees."""
    del sizes
    with mock.patch.object(disk_writer, "_SHOWN_WITHIN_SECONDS", 1.0):
        try:
            checkpoints.Checkpoints(folder / str(jax.process_index()))
        except errors.RunError as error:
            return str(error)
    return ""


_COMMANDS = (save, restore, restore_loop, newest, newest_but_one, apart, memory)


def main() -> None:
    """Runs the commands and prints their results."""
    processes.connect()
    if object_store.FOLDER in os.environ:
        object_store.register(os.environ[object_store.FOLDER])
    results, commands = [], {f.__name__: f for f in _COMMANDS}
    for command in " ".join(sys.argv[1:]).split(" + "):
        name, folder, *meshes = command.split()
        results.append(commands[name](paths.parse(folder), *meshes))
    print(json.dumps(results), flush=True)


if __name__ == "__main__":
    main()
