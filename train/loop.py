"""The training loop, to be read from top to bottom.

A run directory holds `run.json`, `metrics.jsonl`, `lease.json`, `checkpoints/`,
`tensorboard/` and, on request, `profile/`.
"""

import contextlib
import errno
import os
import pathlib
import shutil
from typing import Any

import jax

from clinometer import models
from clinometer.kernels.bench import matmul_rate
from clinometer.train import checkpoints as checkpoints_lib
from clinometer.train import config as config_lib
from clinometer.train import downstream
from clinometer.train import errors
from clinometer.train import evaluate
from clinometer.train import health
from clinometer.train import initial as initial_lib
from clinometer.train import job as job_lib
from clinometer.train import lease
from clinometer.train import metrics_log
from clinometer.train import outputs
from clinometer.train import preemption
from clinometer.train import run_record
from clinometer.train import speed
from clinometer.train import state as state_lib
from clinometer.train import step_log

PREDICTIONS = "predictions"
_RECORDED = ("train/", "validation/", downstream.PREFIX)


def train(job: job_lib.Job, workdir: str | os.PathLike[str]) -> str:
    """Trains a run to its end, or until SIGTERM or Ctrl-C; resumes by itself.

    Args:
        job: from `job.prepare`, checked against `workdir` by `job.check_workdir`.
        workdir: the run directory; made if it is missing.

    Returns:
        "finished" or "stopped"; the same call goes on from there.

    Raises:
        RunHeldError: another process trains this run; nothing was touched.
        RunError: NaN or infinity, a full disk, a checkpoint of another run.
    """
    stopwatch = speed.Stopwatch()
    workdir = pathlib.Path(workdir).resolve()
    with stopwatch.charge("compile"):
        abstract_state = jax.eval_shape(_initialise(job))
        checkpoint_folder = workdir / checkpoints_lib.FOLDER
        _check_space(job, abstract_state, checkpoint_folder)
        workdir.mkdir(parents=True, exist_ok=True)
    with (
        lease.Lease(workdir),
        preemption.StopRequest() as stop,
        contextlib.ExitStack() as stack,
    ):
        run = _Run(job, workdir, stopwatch, abstract_state)
        try:
            return _train(job, workdir, run, stop, stack)
        except BaseException as error:
            with contextlib.suppress(OSError):  # The disk may be full.
                run.write_record("failed", f"{type(error).__name__}: {error}")
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise errors.RunError(
                    f"no space left on the disk of {workdir}; make room, and the same "
                    "command resumes from the last checkpoint"
                ) from error
            raise


def _train(
    job: job_lib.Job,
    workdir: pathlib.Path,
    run: "_Run",
    stop: preemption.StopRequest,
    stack: contextlib.ExitStack,
) -> str:
    config, stopwatch = job.config, run.stopwatch

    ################################ The functions ################################

    with stopwatch.charge("compile"):
        run.write_record("running")
        abstract_state = run.abstract_state
        abstract_batch = {
            name: jax.ShapeDtypeStruct(rows.shape, rows.dtype)
            for name, rows in next(iter(job.source.eval_batches)).items()
        }
        train_step = state_lib.make_train_step(
            job.model,
            job.optimizer,
            job.schedule,
            seed=config.seed,
            z_loss=config.z_loss,
            num_microbatches=config.num_microbatches,
            health_every_steps=config.log.health_every_steps,
        )
        train_step = (
            jax.jit(train_step, donate_argnums=0)
            .lower(abstract_state, abstract_batch)
            .compile()
        )
        eval_step = (
            jax.jit(evaluate.make_eval_step(job.model))
            .lower(abstract_state.params, abstract_batch)
            .compile()
        )

    ################################## The state ##################################

    # Where the state comes from, the first that there is:
    # 1. the newest whole checkpoint of this run directory;
    # 2. the checkpoint of another run that `config.initial` names;
    # 3. the initialisers, as drawn from the seed.
    with stopwatch.charge("checkpoint"):
        checkpoints = checkpoints_lib.Checkpoints(
            workdir / checkpoints_lib.FOLDER,
            keep_last=config.checkpoint.keep_last,
            keep_best=config.checkpoint.keep_best,
            best_by=job.source.best_by,
            keep_every_steps=config.checkpoint.keep_every_steps,
        )
        stack.callback(checkpoints.close)
        restored = checkpoints.restore(
            abstract_state, job.identity, job.earlier_identity
        )
    with stopwatch.charge("compile"):
        if restored is not None:
            state, progress = restored
        elif job.initial is not None:
            state = initial_lib.load(job.initial, job.model, job.optimizer)
            progress = {}
        else:
            state, progress = jax.jit(_initialise(job))(), {}
        start_step = int(state.step)
        run.resume(start_step, progress)
        stack.callback(run.close)
        batches = job.source.batches.iterate(
            start_step, shard=jax.process_index(), num_shards=jax.process_count()
        )
        stack.callback(batches.close)
        tensorboard = None
        if config.log.tensorboard:
            tensorboard = outputs.TensorBoard(workdir / "tensorboard", start_step)
            stack.callback(tensorboard.close)
            run.tensorboard = tensorboard
        jax.block_until_ready(state)
    if start_step < config.train_steps:
        run.calibrate(state)

    ################################### The loop ##################################

    run.meter.step_done(start_step)
    step, pending, profiling = start_step, None, False
    while step < config.train_steps and not stop.is_set:
        if step == config.profile.start_step:
            jax.profiler.start_trace(str(workdir / "profile"))
            profiling = True

        with stopwatch.charge("input_wait"):
            batch = next(batches)
        with stopwatch.charge("step"), jax.transfer_guard("disallow"):
            state, metrics = train_step(state, jax.device_put(batch))
            step += 1
            # The last step's values are fetched now that the next one is under way.
            done, pending = pending, (step, metrics)
            values = jax.device_get(done[1]) if done else None
        if done:
            run.step_done(done[0], values, checkpoints)

        is_last = step == config.train_steps
        evaluates = is_last or step % config.eval.every_steps == 0
        saves = is_last or stop.is_set or step % config.checkpoint.every_steps == 0
        profile_ends = profiling and (
            is_last or step == config.profile.start_step + config.profile.num_steps
        )
        if not (evaluates or saves or profile_ends or stop.is_set):
            continue

        # No step is in flight from here to the end of the loop's body.
        with stopwatch.charge("step"):
            values = jax.device_get(pending[1])
        run.step_done(pending[0], values, checkpoints)
        pending = None
        if profile_ends:
            jax.profiler.stop_trace()
            profiling = False
        measured = None
        if evaluates:
            with stopwatch.charge("evaluation"):
                measured = evaluate.evaluate(
                    eval_step, state.params, job.source.eval_batches
                )
                if job.source.scorer is not None:
                    measured |= run.score(job.source.scorer, step, state.params)
            run.write(step, measured)
            saves = saves or run.is_best_of_a_task(step)
        if saves:
            with stopwatch.charge("checkpoint"):
                run.save(checkpoints, step, state, measured)
        run.write_record("running")

    ################################### The end ###################################

    if profiling:
        jax.profiler.stop_trace()
    if pending is not None:  # Stopped between two steps: the loop's head saw it first.
        with stopwatch.charge("step"):
            values = jax.device_get(pending[1])
        run.step_done(pending[0], values, checkpoints)
    with stopwatch.charge("checkpoint"):
        if step > start_step:
            run.save(checkpoints, step, state, None)
        checkpoints.wait()
    status = "finished" if step == config.train_steps else "stopped"
    run.write_record(status)
    return status


class _Run:
    """The host's side of a run: logs, clocks and the record."""

    def __init__(
        self,
        job: job_lib.Job,
        workdir: pathlib.Path,
        stopwatch: speed.Stopwatch,
        abstract_state: state_lib.TrainState,
    ):
        config = job.config
        self.stopwatch = stopwatch
        self.abstract_state = abstract_state
        self.tensorboard: outputs.TensorBoard | None = None
        self._job, self._workdir = job, workdir
        self._log: metrics_log.MetricsLog | None = None
        self._step = 0
        self._validation_loss: float | None = None
        self._progress_line = outputs.ProgressLine(job.model.name, config.train_steps)
        self.meter = speed.SpeedMeter(
            stopwatch, speed.window_length(config.train_steps, config.log.every_steps)
        )
        with stopwatch.charge("compile"):
            self._counts = models.counts.count(
                job.model.name,
                batch_size=config.data.batch_size,
                encoder_length=job.source.encoder_length,
                decoder_length=job.source.decoder_length,
                **job.model_overrides,
            ).to_dict()
            self._environment = run_record.environment()
            self._environment["device"]["training"] = None  # until there is a state
            self._matmul_flops_per_second: float | None = None  # of one device
            earlier = run_record.read(workdir) or {}
        self._started_at = earlier.get("started_at", run_record.now())
        self._earlier_metrics = earlier.get("metrics", {})
        self._evaluations = earlier.get("evaluations", [])

    def resume(self, step: int, progress: dict[str, Any]) -> None:
        """Takes up the logs and clocks as they were when `step` steps were done."""
        config = self._job.config
        self._step = step
        self._log = metrics_log.MetricsLog(self._workdir / "metrics.jsonl", step)
        self._validation_loss = self._log.latest().get("validation/loss")
        self.stopwatch.add_earlier(progress.get("wall_seconds", {}))
        self.meter.windows.extend(progress.get("speed_windows", ()))
        self.meter.contention.add_earlier(progress.get("contention", {}))
        self._environment["device"]["training"] = progress.get("devices")
        self._matmul_flops_per_second = progress.get("matmul_flops_per_second")
        self._step_log = step_log.StepLog(
            every_steps=config.log.every_steps,
            last_step=config.train_steps,
            health_every_steps=config.log.health_every_steps,
            health_groups=health.groups(self.abstract_state.params),
            spike_window=config.log.spike_window,
            spike_threshold=config.log.spike_threshold,
            losses=self._log.history("train/loss"),
            pending=progress.get("step_log"),
        )

    def calibrate(self, state: state_lib.TrainState) -> None:
        """Counts the devices that train; measures their rate of matrix products."""
        self._environment["device"]["training"] = state_lib.num_devices(state)
        with self.stopwatch.charge("calibration"):
            dtype = self._job.model.config.dtype
            self._matmul_flops_per_second = matmul_rate.measure(dtype)

    def step_done(
        self,
        step: int,
        values: state_lib.StepMetrics,
        checkpoints: checkpoints_lib.Checkpoints,
    ) -> None:
        """Takes note of a step's values; raises RunError if they are not finite."""
        problem = step_log.nonfinite(values)
        if problem is not None:
            checkpoints.wait()
            good = checkpoints.steps[-1] if checkpoints.steps else "none"
            first_row = (step - 1) * self._job.config.data.batch_size
            raise errors.RunError(
                f"step {step}: {problem}; batch index {step - 1} (examples from "
                f"{first_row}). Last good checkpoint: {good}; nothing later was saved"
            )
        self._step = step
        self.meter.step_done(step)
        record = self._step_log.add(step, values)
        if record is not None:
            self.write(step, record)
        tokens = max(float(values.loss.weight_sum), 1.0)
        loss = float(values.loss.loss_sum) / tokens
        self._progress_line.update(step, loss, self._validation_loss)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """Writes a record to `metrics.jsonl` and TensorBoard."""
        self._validation_loss = values.get("validation/loss", self._validation_loss)
        windows = self.meter.windows
        clock = {
            "wall/seconds": round(self.stopwatch.snapshot()["total"], 3),
            "wall/steps_per_second": windows[-1] if windows else None,
        }
        self._log.write(step, {**values, **clock})
        if self.tensorboard is not None:
            self.tensorboard.write(step, {**values, **clock})

    def score(
        self, scorer: downstream.Scorer, step: int, params: Any
    ) -> dict[str, float]:
        """Scores the downstream tasks; writes the predictions, as PREDICTIONS/STEP."""
        result = scorer(params, self._progress_line.say)
        scorer.write_predictions(result, self._workdir / PREDICTIONS / str(step))
        return result.flat()

    def is_best_of_a_task(self, step: int) -> bool:
        """Whether a task had its best score at this step, so that it is to be kept."""
        found = downstream.best(self._log.records) or {"tasks": {}}
        kept = self._job.config.checkpoint.keep_best > 0
        return kept and any(
            entry["best_step"] == step for entry in found["tasks"].values()
        )

    def save(
        self,
        checkpoints: checkpoints_lib.Checkpoints,
        step: int,
        state: state_lib.TrainState,
        measured: dict[str, float] | None,
    ) -> None:
        """Starts a checkpoint that holds the host's values too."""
        self._log.sync()
        checkpoints.save(
            step,
            state,
            identity=self._job.identity,
            progress={
                "wall_seconds": self.stopwatch.snapshot(),
                "speed_windows": self.meter.windows,
                "contention": self.meter.contention.sums,
                "devices": self._environment["device"]["training"],
                "matmul_flops_per_second": self._matmul_flops_per_second,
                "step_log": self._step_log.pending,
            },
            metrics=measured,
        )
        # Those of checkpoints that are gone say little, and take room. What has not the
        # name of a step is somebody else's.
        kept = {str(kept) for kept in (*checkpoints.steps, step)}
        for folder in (self._workdir / PREDICTIONS).glob("[0-9]*"):
            if folder.name not in kept and str.isdecimal(folder.name):
                shutil.rmtree(folder, ignore_errors=True)

    def write_record(self, status: str, error: str | None = None) -> None:
        """Writes `run.json`."""
        job, config, device = self._job, self._job.config, self._environment["device"]
        num_devices = device["training"] or 1
        matmul = self._matmul_flops_per_second
        latest = self._log.latest() if self._log else self._earlier_metrics
        positions = job.source.encoder_length + job.source.decoder_length
        run_record.write(
            self._workdir,
            {
                "format_version": run_record.FORMAT_VERSION,
                "model": job.model.name,
                "status": status,
                "error": error,
                "seed": config.seed,
                "config": config_lib.to_dict(config),
                **self._environment,
                "counts": self._counts,
                "initial": job.initial and job.initial.describe(),
                "data": job.source.describe(self._step),
                "speed": self.meter.summary(
                    config.data.batch_size * positions,
                    self._counts["flops_train_step"],
                    speed.peak_flops_per_second(
                        device["kind"],
                        num_devices,
                        config.log.peak_flops_per_second,
                    ),
                    matmul and num_devices * matmul,
                ),
                "wall_seconds": self.stopwatch.snapshot(),
                "metrics": {
                    name: value
                    for name, value in latest.items()
                    if name == "step" or name.startswith(_RECORDED)
                },
                "downstream": downstream.best(self._log.records if self._log else ()),
                "evaluations": self._evaluations,  # of `clinometer evaluate`
                "started_at": self._started_at,
            },
        )

    def close(self) -> None:
        """Closes the log and the progress line."""
        self._progress_line.close()
        self._log.close()


def _initialise(job: job_lib.Job) -> Any:
    return lambda: state_lib.initialise(job.model, job.optimizer, job.config.seed)


def _check_space(
    job: job_lib.Job, abstract_state: state_lib.TrainState, folder: pathlib.Path
) -> None:
    """Raises RunError unless all checkpoints that are to be kept fit, and one more."""
    config = job.config.checkpoint
    stored = len(list(folder.glob("[0-9]*"))) if folder.exists() else 0
    best = config.keep_best * len(job.source.best_by)
    missing = max(1, config.keep_last + best + 1 - stored)
    size = checkpoints_lib.num_bytes(abstract_state)
    checkpoints_lib.check_space(folder, missing * size)
