"""Writes and reads the arrays of a checkpoint with Orbax.

Orbax copies arrays before it writes them and keeps the compressed data in memory. The
additional memory of a save would be twice the state, or more. Here the arrays are
`host_copy.HostCopy`, and are written without compression, for which tensorstore needs
no further memory. The files can be read by Orbax without this module.
"""

import asyncio
from collections.abc import Iterator
from collections.abc import Sequence
import contextlib
import math
import pathlib
import tempfile
from typing import Any

from etils import epath
import jax
import orbax.checkpoint as ocp
import tensorstore

from clinometer.data import paths
from clinometer.train import errors
from clinometer.train.host import library_noise
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import consensus
from clinometer.train.run import host_copy

ITEM = "state"  # Name of the folder in a checkpoint.
DIRECTORIES = "directory/"
_NUM_BATCHES = 20


class _ArrayHandler(ocp.type_handlers.ArrayHandler):
    """Orbax's reader of arrays, used on a few at a time, and a writer of host copies.

    To read all arrays at once, Orbax needs twice the memory of the state.
    """

    def __init__(self, separate: bool):
        super().__init__()
        self._separate = separate

    async def deserialize(
        self,
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.ArrayRestoreArgs] | None = None,
    ) -> Sequence[jax.Array]:
        """Reads arrays, about a twentieth of them at a time."""
        sizes = [math.prod(arg.global_shape) * arg.dtype.itemsize for arg in args]
        read, begin, pending = [], 0, 0
        for end, size in enumerate(sizes, 1):
            pending += size
            if pending >= sum(sizes) / _NUM_BATCHES or end == len(sizes):
                read += await super().deserialize(infos[begin:end], args[begin:end])
                begin, pending = end, 0
        return read

    async def serialize(
        self,
        values: Sequence[host_copy.HostCopy],
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.SaveArgs] | None = None,
    ) -> Sequence[ocp.future.Future]:
        """Starts to write this process's pieces of arrays."""
        del args
        written = self._write_all(values, infos)
        name = "clinometer_host_copies"
        return [ocp.future.CommitFutureAwaitingContractedSignals(written, name=name)]

    async def _write_all(
        self,
        values: Sequence[host_copy.HostCopy],
        infos: Sequence[ocp.type_handlers.ParamInfo],
    ) -> None:
        for info in infos:
            await info.await_path_creation()
        await asyncio.gather(
            *(_write(v, info, self._separate) for v, info in zip(values, infos))
        )


async def _write(
    value: host_copy.HostCopy, info: ocp.type_handlers.ParamInfo, separate: bool
) -> None:
    first = jax.process_index() == 0
    if not first and not value.pieces:
        return
    spec = ocp.type_handlers.get_json_tspec_write(
        info,
        use_ocdbt=True,
        global_shape=value.shape,
        local_shape=value.chunk,
        dtype=value.dtype,
        process_index=jax.process_index(),
    )
    if separate:
        for kind in ("btree_node", "version_tree_node"):
            spec["kvstore"][f"{kind}_data_prefix"] = DIRECTORIES
    # Process 0 writes the description of the array, which the others know as well.
    mode = {"create": True} if first else {"assume_metadata": True}
    file = await tensorstore.open(
        tensorstore.Spec(spec), open=True, context=info.ts_context, **mode
    )
    await asyncio.gather(
        *(
            file[index].write(values, can_reference_source_data_indefinitely=True)
            for index, values in value.pieces
        )
    )


def handler(*, separate: bool = False) -> ocp.PyTreeCheckpointHandler:
    """Returns the handler of the arrays for an Orbax manager.

    Args:
        separate: whether to write the directories of the files into `DIRECTORIES`,
            apart from the arrays.
    """
    arrays = _ArrayHandler(separate)
    registry = ocp.type_handlers.create_type_handler_registry(
        (host_copy.HostCopy, arrays), (jax.Array, arrays)
    )
    return ocp.PyTreeCheckpointHandler(
        type_handler_registry=registry, use_compression=False
    )


def write(folder: pathlib.Path, arrays: Any) -> None:
    """Writes this process's pieces of arrays to a folder of its own.

    Args:
        folder: an existing folder.
        arrays: a tree of `host_copy.HostCopy`.
    """
    with library_noise.muted(), contextlib.closing(handler(separate=True)) as writer:
        writer.save(epath.Path(folder), args=ocp.args.PyTreeSave(arrays))


def finish(folder: pathlib.Path) -> None:
    """Makes the files of all processes one, once they or their directories are there.

    Args:
        folder: the folder of the arrays.
    """
    with library_noise.muted(), contextlib.closing(handler(separate=True)) as writer:
        writer.finalize(epath.Path(folder))


def read(folder: paths.AnyPath, target: Any, *, partial: bool = False) -> Any:
    """Reads arrays.

    Each device reads the chunks that its part lies in. From an object store, however,
    each process first copies all arrays to a temporary folder.

    Args:
        folder: the folder of the arrays.
        target: a tree of abstract arrays with shardings.
        partial: whether there may be further arrays in the file, which are not read.

    Returns:
        The tree of arrays.

    Raises:
        BrokenError: a file is missing or corrupt; in a run of several processes, for
            any of them.
        RunError: the object store cannot be read, or there is no space for the copy.
    """
    with contextlib.ExitStack() as stack:
        if paths.is_remote(folder):
            folder = stack.enter_context(_local_copy(folder))
        return _read(epath.Path(folder), target, partial)


@contextlib.contextmanager
def _local_copy(folder: paths.AnyPath) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory(prefix="clinometer-checkpoint-") as temporary:
        problem, local = None, pathlib.Path(temporary)
        try:
            for name in paths.files_below(folder):
                (local / name).parent.mkdir(parents=True, exist_ok=True)
                paths.download(folder / name, local / name)
        except OSError as error:
            problem = f"{folder} cannot be copied to {local}: {error}"
        problem = consensus.any_message(problem)
        if problem is not None:
            raise errors.RunError(problem)
        yield local


def _missing(tree: Any) -> str | None:
    """Names an array that a partial read did not find, and so left abstract."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not isinstance(leaf, jax.Array):
            return f"there is no array {jax.tree_util.keystr(path)}"
    return None


def _read(folder: epath.Path, target: Any, partial: bool) -> Any:
    restore_args = ocp.checkpoint_utils.construct_restore_args(target)
    args = ocp.args.PyTreeRestore(
        target, restore_args=restore_args, partial_restore=partial
    )
    tree, broken = None, None
    # Without Orbax's `Checkpointer`, whose barrier never ends if one process fails.
    with library_noise.muted():
        reader = handler()
        try:
            tree = reader.restore(folder, args=args)
            broken = _missing(tree)
        except Exception as error:
            # Orbax wraps errors from reads in a plain Exception.
            cause = error.__cause__ if type(error) is Exception else error
            if not isinstance(cause, checkpoint_meta.BROKEN):
                raise
            broken = str(cause).split("\n")[0][:300] or type(cause).__name__
        finally:
            reader.close()
    broken = consensus.any_message(broken)
    if broken is not None:
        raise checkpoint_meta.BrokenError(broken)
    return tree
