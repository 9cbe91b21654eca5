"""The trainer: builds everything in order, runs the steps, closes. What one step does stands in `step.py`."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, Optional

import paddle
import yaml

from passl import config as config_room
from passl import distributed
from passl.checkpoint import layer_arrays, load_into
from passl.checkpoint.training_state import TrainingState, list_states, load_newest_state, load_state, save_state
from passl.datasets import BadSampleLog, TrainLoader, build_transform, describe
from passl.datasets.preprocess.transforms import train_transform
from passl.engine.building import build_model, choose_device
from passl.engine.evaluating import Evaluations
from passl.engine.precision import autocast, check_precision
from passl.engine.progress import Progress
from passl.engine.resume import check_same_run
from passl.engine.run_config import RunConfig
from passl.engine.run_folder import RunFolder
from passl.engine.step import StepResult, TrainStep
from passl.utils.env import environment_report
from passl.utils.errors import UserError
from passl.utils.files import write_json, write_text
from passl.utils.logging import get_logger
from passl.utils.registry import DATASETS, OPTIMIZERS, SCHEDULES

_SAME_WISH_SECONDS = 3.0
# Peak rates above this are meant for training from scratch; with loaded weights they deserve a word.
_SCRATCH_RATE = 2e-5


@dataclass(frozen=True)
class RunOptions:
    """What the command line says beside the config.

    Attributes:
        load: weights to start from (a file, a folder or an address).
        partial: take over what fits of `load`, and print a table.
        resize_positions: resample the positions of `load` for the model's image size and context length.
        resume: None, "auto" (the newest state of the run folder, if it has any) or a state's folder.
        allow_config_change: continue although the config differs from the run's.
    """

    load: Optional[str] = None
    partial: bool = False
    resize_positions: bool = False
    resume: Optional[str] = None
    allow_config_change: bool = False


class Stopped(BaseException):
    """The run was asked to stop by a signal, and its state is saved.

    No `Exception`, as KeyboardInterrupt is none: it is raised in the middle of whatever an evaluator does, and nothing on
    its way may take it for a fault of a picture.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.exit_code = 128 + signum


class Trainer:
    """One training run.

    Args:
        config: the checked config.
        output_dir: the run folder.
        options: what the command line says beside it.
    """

    def __init__(self, config: RunConfig, output_dir: Path, options: RunOptions) -> None:
        self.config = config
        self.options = options
        self.log = get_logger()
        self.is_first = distributed.rank() == 0
        check_precision(config.precision, config.device)
        choose_device(config.device)
        self.output_dir = Path(output_dir)
        self._build_data()
        self._build_model()
        self._build_optimizer()
        self.evaluations = Evaluations(
            config.evaluate,
            config.data.eval,
            self.steps_per_epoch,
            best=config.checkpoint.best,
            expected=config.expect and config.expect.metric,
        )
        self.train_step = TrainStep(self.model, self.optimizer, config.precision, config.seed)
        self.folder: Optional[RunFolder] = None
        self.first_step = 0
        self.identity = self._identity()
        self._environment = environment_report()
        self._signal: Optional[int] = None
        self._signal_time = 0.0
        self._is_saving = False
        self._may_leave = False

    # ------------------------------------------------------------------ building, in order

    def _build_data(self) -> None:
        data = self.config.data.train
        self.source = DATASETS.build(data.dataset)
        self.global_batch_size = data.batch_size * distributed.world_size() * self.config.accumulate
        if self.global_batch_size == 1:
            raise UserError(
                "the global batch is 1 pair; a contrastive loss compares pairs with each other and is 0 for a single one. "
                "Raise data.train.batch_size"
            )
        self.steps_per_epoch = len(self.source) // self.global_batch_size
        if self.steps_per_epoch == 0:
            raise UserError(
                f"the training data has {len(self.source)} samples, fewer than the global batch of {self.global_batch_size} "
                f"({data.batch_size} per process × {distributed.world_size()} processes × {self.config.accumulate} "
                "micro-batches); lower data.train.batch_size"
            )
        self.total_steps = self.config.steps or self.config.epochs * self.steps_per_epoch
        findings = describe(self.source)
        for finding in findings["warnings"]:
            self.log.warning("%s", finding)
        for note in findings["notes"]:
            self.log.info("note: %s", note)

    def _build_model(self) -> None:
        options = self.options
        self.model = build_model(
            self.config.model, self.config.seed, options.load, options.partial, options.resize_positions
        )
        self.model.train()
        if self.config.accumulate > 1 and not self.model.row_independent_loss:
            raise UserError(
                f"accumulate: {self.config.accumulate} would compare each pair with its micro-batch only: the contrastive loss "
                "needs the features of the whole batch, and accumulation with cached features is not there yet. Use "
                "accumulate: 1, with a smaller batch or more processes"
            )
        network = self.model.model
        self.tokenizer = network.make_tokenizer()
        transforms = self.config.data.train.transforms
        self.transform = (
            train_transform(network.spec["preprocessing"]) if transforms is None else build_transform(transforms)
        )
        self._loader(first_step=0)  # refuses data without captions before anything is written

    def _build_optimizer(self) -> None:
        self.optimizer = OPTIMIZERS.build(
            self.config.optimizer, dict(self.model.named_parameters()), self.global_batch_size
        )
        for layer in self.model.sublayers():
            if isinstance(layer, paddle.nn.BatchNorm2D) and layer.weight.stop_gradient:
                layer.eval()  # frozen means its statistics too
        self.schedule = SCHEDULES.build(self.config.schedule, self.total_steps)
        stated, used = self.config.optimizer["lr"], self.optimizer.peak_lr
        if used != stated:
            self.log.info(
                "rate %.4g: %.4g is stated for a global batch of %d, this run's is %d",
                used,
                stated,
                self.config.optimizer["base_batch_size"],
                self.global_batch_size,
            )
        if self.options.load is not None and stated > _SCRATCH_RATE:
            self.log.warning(
                "hint: optimizer.lr %.2g is a rate for training from scratch; loaded weights are mostly fine-tuned at 1e-6 to "
                "1e-5 (for Food101: configs/clip/vit-b-32-finetune.yaml)",
                stated,
            )

    # ------------------------------------------------------------------ running

    def describe(self) -> str:
        """What will be run, in a few lines."""
        trained = sum(int(tensor.size) for tensor in self.optimizer.parameters.values())
        lines = [
            f"model      {trained / 1e6:.2f} M parameters trained, {len(self.optimizer.frozen)} tensors frozen or buffers",
            f"data       {len(self.source)} samples, {self.steps_per_epoch} steps an epoch, global batch "
            f"{self.global_batch_size} "
            f"({distributed.world_size()} process{'es' * (distributed.world_size() > 1)})",
            f"length     {self.total_steps} steps, peak rate {self.optimizer.peak_lr:.3g}",
            f"device     {self.config.device}, {self.config.precision}",
        ]
        return "\n".join(lines)

    def dry_run(self) -> None:
        """Computes the loss of one real batch, as the first process sees it, and writes nothing."""
        batch = next(iter(self._loader(first_step=0)))
        with paddle.no_grad():
            with autocast(self.config.precision):
                features = self.model.features(batch)
            loss = self.model.losses(features, batch)["loss"]
        self.log.info("%s\nfirst loss %.4f", self.describe(), float(loss))

    def run(self) -> Dict[str, Any]:
        """Trains from the first step, or where the state left off, to the end.

        Returns:
            the results of the last evaluations by label.

        Raises:
            Stopped: SIGINT or SIGTERM came; the state is saved.
            UserError: whatever the user can mend, see the message.
        """
        try:
            self._open_folder()
            with self._signals():
                self._train()
            if self.is_first:
                self.folder.draw_curves()
                self.folder.draw_confusions(self.evaluations.confusions)
            return self.evaluations.latest
        finally:
            if self.folder is not None:
                self.folder.close()

    def _open_folder(self) -> None:
        resume, state, is_own = self.options.resume, None, self.options.resume == "auto"
        if resume not in (None, "auto"):
            state = load_state(Path(resume).resolve())
            is_own = Path(resume).resolve().parent == (self.output_dir / "checkpoints").resolve()
        if self.is_first:
            self.folder = RunFolder(self.output_dir, resume=is_own)
        distributed.barrier()  # the others read what the first has cleaned up
        if resume == "auto":
            state = self._newest_state()
        if state is not None:
            self._continue_from(state)
        if self.is_first:
            self.folder.cut_back(self.first_step)
            write_text(self.output_dir / "config.yaml", config_room.to_yaml(self.config))
            write_json(self.output_dir / "env.json", self._environment)
        self._check_agreement()
        # Every process has the same weights by its seed, or has read the same file; the first one's word counts all the same.
        distributed.broadcast_tensors(self.model.state_dict().values())

    def _check_agreement(self) -> None:
        """Processes that see other data, or another run folder, would wait for each other for ever, or mix two runs."""
        views = distributed.gather_objects([self.first_step, len(self.source), self.total_steps])
        if any(view != views[0] for view in views):
            raise UserError(
                "the processes do not agree on (first step, samples, steps): "
                + ", ".join(f"process {rank} {view}" for rank, view in enumerate(views))
                + ". All need the same data, and the run folder on a file system that all share"
            )

    def _newest_state(self) -> Optional[TrainingState]:
        checkpoints = self.output_dir / "checkpoints"
        if not list_states(checkpoints):
            self.log.info("%s holds no checkpoint yet; starting from the beginning", self.output_dir)
            return None
        return load_newest_state(checkpoints)

    def _continue_from(self, state: TrainingState) -> None:
        check_same_run(state.extra, self.identity, self.options.allow_config_change)
        newer = [folder.name for step, folder in list_states(self.output_dir / "checkpoints") if step > state.step]
        if newer and self.options.resume != "auto":
            raise UserError(
                f"{self.output_dir} holds states that are newer than step {state.step}: {', '.join(newer)}. They would be "
                "taken for this run's; remove them, or continue in another --output-dir"
            )
        load_into(self.model, state.weights, source="the checkpoint")
        self.optimizer.load_state_arrays(state.optimizer)
        self.train_step.loss_scale.load_state(state.extra["loss_scale"])
        self.evaluations.load_state(state.extra["evaluations"], best_stands=(self.output_dir / "best").is_dir())
        self.first_step = state.step
        self.log.info("continuing after step %d of %d", state.step, self.total_steps)

    def _train(self) -> None:
        config, folder = self.config, self.folder
        bad_samples = BadSampleLog(
            self.output_dir / "bad_samples.jsonl", len(self.source), config.data.train.max_bad_fraction, self.is_first
        )
        progress = Progress(self.total_steps, self.first_step, self.steps_per_epoch, silent=not self.is_first)
        if self.first_step == 0:
            self._may_leave = distributed.world_size() == 1
            self.evaluations.run_before_training(self.model.model, folder)
            self._may_leave = False
        elif self.evaluations.due(self.first_step, self.total_steps):  # the kill may have come before measuring
            self._evaluate(self.first_step)
        batches = iter(self._loader(self.first_step)) if self.first_step < self.total_steps else iter(())
        faults: List[Dict[str, Any]] = []
        distributed.barrier()
        for step in range(self.first_step, self.total_steps):
            # One step.
            started = time.perf_counter()
            batch = next(batches)
            faults.extend(batch.pop("bad"))
            waited = time.perf_counter() - started
            lr = self.optimizer.peak_lr * self.schedule(step)
            result = self.train_step(step, self._micro_batches(batch), lr, stop_requested=self._signal is not None)
            elapsed = time.perf_counter() - started

            # Looking at it.
            done = step + 1
            is_logged = done % config.log.every_steps == 0 or done == self.total_steps
            is_saved = result.stop_requested or done == self.total_steps or self._is_save_due(done)
            row = self._row(done, result, lr, elapsed, waited)
            if is_logged and self.is_first:
                folder.append(folder.metrics, row)
            progress.show(row, is_logged)

            # Saving, measuring, leaving.
            if is_logged or is_saved:
                known = len(bad_samples)
                bad_samples.add([fault for part in distributed.gather_objects(faults) for fault in part])
                faults.clear()
                if len(bad_samples) > known:
                    self.log.warning(
                        "%d of %d samples could not be used so far; see %s",
                        len(bad_samples),
                        len(self.source),
                        bad_samples.path,
                    )
            if is_saved:
                self._save(done)
            if result.stop_requested:
                progress.close()
                raise Stopped(self._signal or signal.SIGTERM)
            if self.evaluations.due(done, self.total_steps):
                progress.pause()
                self._evaluate(done)
        progress.close()
        if self._signal is not None:  # it came after the last step
            raise Stopped(self._signal)

    def _row(self, done: int, result: StepResult, lr: float, elapsed: float, waited: float) -> Dict[str, Any]:
        """A line of metrics.jsonl."""
        row = {
            "step": done,
            "epoch": done / self.steps_per_epoch,
            **result.losses,
            "lr": lr,
            "grad_norm": result.grad_norm if math.isfinite(result.grad_norm) else None,
            "samples_per_second": self.global_batch_size / elapsed,
            "data_wait": waited / elapsed,
        }
        if self.train_step.loss_scale.active:
            row["skipped_steps"] = self.train_step.loss_scale.num_skipped
        return row

    def _loader(self, first_step: int) -> TrainLoader:
        data = self.config.data.train
        return TrainLoader(
            self.source,
            self.transform,
            self.tokenizer,
            batch_size=data.batch_size * self.config.accumulate,
            num_workers=data.num_workers,
            seed=self.config.seed,
            start_step=first_step,
            total_steps=self.total_steps,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
        )

    def _micro_batches(self, batch: Mapping[str, paddle.Tensor]) -> List[Dict[str, paddle.Tensor]]:
        if self.config.accumulate == 1:
            return [batch]
        size = self.config.data.train.batch_size
        return [
            {key: value[start : start + size] for key, value in batch.items()}
            for start in range(0, size * self.config.accumulate, size)
        ]

    def _is_save_due(self, done: int) -> bool:
        steps, epochs = self.config.checkpoint.every_steps, self.config.checkpoint.every_epochs
        return bool((steps and done % steps == 0) or (epochs and done % (epochs * self.steps_per_epoch) == 0))

    # ------------------------------------------------------------------ saving, measuring, leaving

    def _identity(self) -> Dict[str, Any]:
        """What must be equal for a run to be continued: the config, and the sizes that the data's order depends on."""
        return {
            "config": yaml.safe_load(config_room.to_yaml(self.config)),
            "global_batch_size": self.global_batch_size,
            "num_samples": len(self.source),
            "data_fingerprint": self.source.fingerprint(),
            # A tower whose rows depend on each other, or on what a process draws, computes something else when they are
            # dealt out anew.
            "num_processes": None if self.model.model.visual.row_independent else distributed.world_size(),
        }

    def _save(self, step: int) -> None:
        """Writes the training state (the first process does; all hold the same, and wait for it)."""
        self._is_saving = True
        if self.is_first:
            self.folder.sync_lines()
            extra = {
                **self.identity,
                "loss_scale": self.train_step.loss_scale.state(),
                "evaluations": self.evaluations.state(),
                "environment": self._environment,
            }
            spec = json.dumps(self.model.model.spec)
            state = TrainingState(step, layer_arrays(self.model), self.optimizer.state_arrays(), extra, {"spec": spec})
            save_state(self.folder.checkpoints, state, keep=self.config.checkpoint.keep)
        distributed.barrier()
        self._is_saving = False

    def _evaluate(self, step: int) -> None:
        """Runs the evaluators that are due. A signal meanwhile saves and leaves at once: weights do not change here.

        Only a single process can leave alone; several agree on it in their next step.
        """
        # Statistics of batch norms are each process's own while training; those of the first are saved and measured.
        statistics = [t for name, t in self.model.state_dict().items() if name.endswith(("._mean", "._variance"))]
        distributed.broadcast_tensors(statistics)
        self._may_leave = distributed.world_size() == 1
        try:
            if self._may_leave and self._signal is not None:
                raise Stopped(self._signal)
            self.evaluations.run_due(step, self.total_steps, self.model.model, self.folder)
            distributed.barrier()  # the first process may still be writing the best model
        except Stopped:
            self._save(step)
            raise
        finally:
            self._may_leave = False

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask the run to stop after its step; one more ends the process at once.

        Terminals, launchers and service managers send one wish to stop twice, so what follows within seconds, or while the
        state is being saved, is taken for the same.
        """

        def ask_to_stop(signum: int, _frame: object) -> None:
            if self._signal is not None:
                if not self._is_saving and time.monotonic() - self._signal_time > _SAME_WISH_SECONDS:
                    signal.signal(signum, signal.SIG_DFL)
                    os.kill(os.getpid(), signum)
                return
            self._signal, self._signal_time = signum, time.monotonic()
            self.log.info("%s: stopping after this step", signal.Signals(signum).name)
            if self._may_leave:
                raise Stopped(signum)

        previous = {signum: signal.signal(signum, ask_to_stop) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in previous.items():
                signal.signal(signum, handler)
