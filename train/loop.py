"""The training loop.

`run/directory.py` describes the files that it writes.
"""

import contextlib
import errno
import math
import pathlib

import jax

from clinometer.data import paths
from clinometer.train import compilation_cache
from clinometer.train import compiled
from clinometer.train import errors
from clinometer.train import initial as initial_lib
from clinometer.train import job as job_lib
from clinometer.train import validation as evaluate
from clinometer.train.host import bookkeeping
from clinometer.train.host import bystander
from clinometer.train.host import display
from clinometer.train.host import pauses
from clinometer.train.host import profiling
from clinometer.train.host import speed
from clinometer.train.hosts import running
from clinometer.train.hosts import session as session_lib
from clinometer.train.memory import advice
from clinometer.train.memory import microbatch
from clinometer.train.run import directory as run_directory
from clinometer.train.run import disk_space
from clinometer.train.sharding import mesh as mesh_lib


def train(
    job: job_lib.Job,
    workdir: paths.PathLike,
    session: session_lib.Session | None = None,
) -> str:
    """Trains a run to its last step, or until it is requested to stop.

    SIGTERM, Ctrl-C and a file `stop` in the run directory request it. Resumes from the
    newest intact checkpoint in `workdir`, if there is one.

    Args:
        job: from `job.prepare`, checked against `workdir` by `job.check_workdir`.
        workdir: the run directory; created if missing.
        session: the processes that train the run together; None for this one alone.

    Returns:
        "finished", or "stopped" after a request.

    Raises:
        RunHeldError: another process is training this run; nothing was changed.
        RunError: the loss or the gradient is NaN or infinite, the memory of a device
            or the disk does not suffice, a file cannot be written, or a checkpoint
            belongs to another run.
    """
    session = session or session_lib.alone()
    compilation_cache.enable(job.config.compilation_cache)
    pause_watch = pauses.PauseWatch()
    stopwatch = speed.Stopwatch(pause_watch=pause_watch)
    workdir = paths.resolved(workdir)
    directory = run_directory.RunDirectory(workdir)
    try:
        with stopwatch.charge("compile"):
            _check_space(job, directory.checkpoints_path)
        mesh = job.placement.mesh
        with (
            running.entered(session, directory, job.config, mesh) as hosts,
            contextlib.ExitStack() as stack,
        ):
            pause_watch.start()
            stack.callback(pause_watch.stop)
            line = display.ProgressLine(job.model.name, job.config.train_steps)
            tell = line.note if session.is_first else lambda text: None
            with stopwatch.charge("compile"):
                job, programs = microbatch.settle(job, directory, hosts, tell)
            if session.is_first:
                run = bookkeeping.Bookkeeping(job, directory, stopwatch, hosts.lease)
            else:
                run = bystander.Bystander(job, stopwatch)
            try:
                with advice.explained(job, directory, hosts, tell):
                    return _train(job, directory, run, hosts, stack, programs)
            except BaseException as error:
                hosts.await_news(error)
                # The disk may be full, or another process may train the run.
                with contextlib.suppress(OSError, errors.RunHeldError):
                    run.write_record("failed", f"{type(error).__name__}: {error}")
                raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise errors.RunError(
                f"no space left on the disk of {workdir}; free some space and run the "
                "same command again to resume from the last checkpoint"
            ) from error
        if f"{error.filename}/".startswith(f"{workdir}/"):
            raise errors.RunError(f"{error.filename}: {error.strerror}") from error
        raise


def _train(
    job: job_lib.Job,
    directory: run_directory.RunDirectory,
    run: bystander.Bystander,
    hosts: running.Running,
    stack: contextlib.ExitStack,
    programs: compiled.Programs | None,
) -> str:
    config, stopwatch = job.config, run.stopwatch

    ################################## The state ##################################

    # The state comes from the first of these that exists:
    # 1. the newest intact checkpoint of this run directory;
    # 2. the checkpoint of another run, given by `config.initial`;
    # 3. random initialisation from the seed.
    with stopwatch.charge("checkpoint"):
        checkpoints = directory.checkpoints(
            keep_last=config.checkpoint.keep_last,
            keep_best=config.checkpoint.keep_best,
            best_by=job.source.best_by,
            keep_every_steps=config.checkpoint.keep_every_steps,
        )
        stack.callback(checkpoints.close)
        restored = checkpoints.restore(
            job.placement.state, job.identity, job.earlier_identity
        )
    if restored is not None and int(restored[0].step) == config.train_steps:
        run.resume(config.train_steps, restored[1], checkpoints)
        stack.callback(run.close)
        run.end("finished", before=True)
        return "finished"

    ################################ The functions ################################

    with stopwatch.charge("compile"):
        run.start(compiles=programs is None)
        programs = programs or compiled.compile_programs(job)
        run.compiled(programs.train_step)

    with stopwatch.charge("compile"):
        if restored is not None:
            state, progress = restored
        elif job.initial is not None:
            state = initial_lib.load(job.initial, job.placement.state, job.optimizer)
            progress = {}
        else:
            state, progress = programs.initialise(), {}
        start_step = int(state.step)
        run.resume(start_step, progress, checkpoints)
        stack.callback(run.close)
        batches = job.source.batches.iterate(start_step, job.placement.local_rows)
        stack.callback(batches.close)
        jax.block_until_ready(state)

    ################################### The loop ##################################

    run.began(start_step, state)
    step, pending = start_step, None
    writes = hosts.group.index == 0
    profile = profiling.Profile(directory.profile_path, writes=writes)
    while step < config.train_steps and not hosts.stop.agreed:
        if step == config.profile.start_step:
            profile.start()

        with stopwatch.charge("input_wait"):
            batch = next(batches)
        with stopwatch.charge("step"):
            batch = job.placement.put(batch) | hosts.stop.flag
            with jax.transfer_guard("disallow"):
                state, outputs = programs.train_step(state, batch)
            step += 1
            # Fetch the previous step's metrics while this step runs on the device.
            done, pending = pending, (step, outputs)
            values = hosts.fetched(done[1]) if done else None
        if done:
            run.step_done(done[0], values, checkpoints)

        is_last = step == config.train_steps
        evaluates = is_last or step % config.eval.every_steps == 0
        stops = hosts.stop.agreed
        saves = is_last or stops or step % config.checkpoint.every_steps == 0
        profile_ends = profile.running and (
            is_last or step == config.profile.start_step + config.profile.num_steps
        )
        if not (evaluates or saves or profile_ends):
            continue

        # No step is in flight from here to the end of the loop body.
        with stopwatch.charge("step"):
            values = hosts.fetched(pending[1])
        run.step_done(pending[0], values, checkpoints)
        pending = None
        if profile_ends:
            profile.stop()
        measured = None
        if evaluates:
            with stopwatch.charge("evaluation"), hosts.other("the evaluation"):
                measured, rows = evaluate.evaluate(
                    programs.eval_step,
                    state.params,
                    job.source.eval_batches,
                    step,
                    job.placement.put_whole,
                )
                if not math.isfinite(measured["validation/loss"]):
                    run.refuse(
                        checkpoints,
                        f"step {step}: the validation loss is "
                        f"{measured['validation/loss']}",
                    )
                run.write_validation_rows(rows)
                if job.source.scorer is not None:
                    with mesh_lib.shard_over(job.placement.mesh):
                        measured |= run.score(job.source.scorer, step, state.params)
            run.write(step, measured)
            best = hosts.group.broadcast(run.is_best_of_a_task(step))
            saves = saves or best
        if saves:
            with stopwatch.charge("checkpoint"), hosts.other("the checkpoint"):
                hosts.check_lease()
                run.save(checkpoints, step, state, measured)
        run.write_record("running")

    ################################### The end ###################################

    profile.stop()
    if pending is not None:  # The loop condition saw the stop request first.
        with stopwatch.charge("step"):
            values = hosts.fetched(pending[1])
        run.step_done(pending[0], values, checkpoints)
    with stopwatch.charge("checkpoint"), hosts.other("the checkpoint"):
        hosts.check_lease()
        if step > start_step:
            run.save(checkpoints, step, state, None)
        checkpoints.wait()
    status = "finished" if step == config.train_steps else "stopped"
    run.end(status)
    return status


def _check_space(job: job_lib.Job, folder: pathlib.Path) -> None:
    """Raises RunError if the kept checkpoints and one more do not fit on the disk."""
    config = job.config.checkpoint
    stored = 0
    if folder.exists():
        stored = sum(path.name.isdecimal() for path in folder.iterdir())
    kept = {
        "keep_last": config.keep_last,
        "keep_best": config.keep_best * len(job.source.best_by),
        "keep_every_steps": job.config.train_steps // config.keep_every_steps
        if config.keep_every_steps
        else 0,
    }
    # No more checkpoints are kept than are saved.
    saved = job.config.train_steps // config.every_steps + 2
    missing = max(1, min(sum(kept.values()), saved) + 1 - stored)
    size = disk_space.num_bytes(job.placement.state)
    most = max(kept, key=kept.__getitem__)
    disk_space.check(folder, missing * size, f"checkpoint.{most}")
