"""Writes and reads the arrays of a checkpoint with Orbax.

Orbax copies arrays before it writes them and keeps the compressed data in memory. The
additional memory of a save would be twice the state, or more. Here the arrays are
`host_copy.HostCopy`, and are written without compression, for which tensorstore needs
no further memory. The files can be read by Orbax without this module.
"""

import asyncio
from collections.abc import Sequence
import math
import os
from typing import Any

from etils import epath
import jax
import orbax.checkpoint as ocp
import tensorstore

from clinometer.train.host import library_noise
from clinometer.train.run import checkpoint_meta
from clinometer.train.run import consensus
from clinometer.train.run import host_copy

_NUM_BATCHES = 20


class _ArrayHandler(ocp.type_handlers.ArrayHandler):
    """Orbax's reader of arrays, used on a few at a time, and a writer of host copies.

    To read all arrays at once, Orbax needs twice the memory of the state.
    """

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
        await asyncio.gather(*map(_write, values, infos))


async def _write(value: host_copy.HostCopy, info: ocp.type_handlers.ParamInfo) -> None:
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


def handler() -> ocp.PyTreeCheckpointHandler:
    """Returns the handler of the arrays for an Orbax manager."""
    arrays = _ArrayHandler()
    registry = ocp.type_handlers.create_type_handler_registry(
        (host_copy.HostCopy, arrays), (jax.Array, arrays)
    )
    return ocp.PyTreeCheckpointHandler(
        type_handler_registry=registry, use_compression=False
    )


def read(folder: os.PathLike[str], target: Any, *, partial: bool = False) -> Any:
    """Reads arrays; each device reads the chunks that its part lies in.

    Args:
        folder: the folder of the arrays.
        target: a tree of abstract arrays with shardings.
        partial: whether there may be further arrays in the file, which are not read.

    Returns:
        The tree of arrays.

    Raises:
        BrokenError: a file is missing or corrupt; in a run of several processes, for
            any of them.
    """
    restore_args = ocp.checkpoint_utils.construct_restore_args(target)
    args = ocp.args.PyTreeRestore(
        target, restore_args=restore_args, partial_restore=partial
    )
    tree, broken = None, None
    # Without Orbax's `Checkpointer`, whose barrier never ends if one process fails.
    with library_noise.muted():
        reader = handler()
        try:
            tree = reader.restore(epath.Path(folder), args=args)
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
