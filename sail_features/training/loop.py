"""The training loop: draws one data set a step, minimises its loss, survives being killed.

Each step trains on one data set alone, drawn by weight (arXiv 2510.12709,
"stochastic specialisation"): in-batch negatives are then of one domain. All randomness of
a step comes from the seed, the step and the process, so a run that goes on from a
checkpoint draws what it would have drawn. A loss or gradient that isn't finite stops the
run with its batch saved, before any weight has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sail_features.encoders.omni.model import OmniModel
from sail_features.errors import ConfigError, TrainingError
from sail_features.training.checkpoint import (
    Modules,
    iter_parameters,
    load_checkpoint,
    save_checkpoint,
)
from sail_features.training.curve import Curve, read_curve
from sail_features.training.distributed import mean_over_processes, rank, world_size
from sail_features.training.guard import save_failed_step
from sail_features.training.objective import TOTAL, Drawn, Losses, Objective, Refreshable
from sail_features.training.schedule import rate_at
from sail_features.training.settings import TrainSettings


@dataclass(frozen=True)
class StepReport:
    """One step: which data set it trained on, its losses, the gradient's norm, the rate."""

    step: int
    steps: int
    objective: str
    losses: Mapping[str, float]
    gradient_norm: float
    learning_rate: float

    def as_line(self) -> dict[str, Any]:
        """Return the step as a line of the curve."""
        line = {"step": self.step, "objective": self.objective, "losses": dict(self.losses)}
        return {**line, "norm": self.gradient_norm, "rate": self.learning_rate}


@dataclass(frozen=True)
class TrainReport:
    """What a run did; ``resumed_from`` is 0 where it began anew.

    ``losses``: by data set, the mean total over the last tenth of its steps.
    """

    steps: int
    resumed_from: int
    seconds: float
    losses: Mapping[str, float]


def train(
    model: OmniModel,
    objectives: Sequence[Objective],
    weights: Sequence[float],
    settings: TrainSettings,
    folder: Path,
    *,
    on_step: Callable[[StepReport], None] | None = None,
) -> TrainReport:
    """Train a model in place, going on from a checkpoint in ``folder`` if there is one.

    Parameters
    ----------
    weights : how often each objective is drawn, of any sum.
    folder : of checkpoints and the loss curve of this run alone.
    on_step : is told of each step.

    Raises
    ------
    ConfigError
        Weights that aren't a distribution, names that repeat, or a checkpoint of another run.
    ModelError
        A checkpoint of another architecture.
    TrainingError
        A loss or gradient that isn't finite; the batch lies in ``failed_step``.
    """
    shares = _check(objectives, weights)
    if settings.batch_size % world_size():
        raise ConfigError.say(
            "train",
            f"batch_size is {settings.batch_size}, which {world_size()} processes can't share",
            hint="give a multiple of the processes",
        )
    folder.mkdir(parents=True, exist_ok=True)
    run = _Run(model, objectives, shares, settings, folder)
    begun = time.monotonic()
    start = load_checkpoint(folder, run.modules, run.optimiser, run.description)
    run.go_on(start, on_step)
    return TrainReport(
        settings.steps, start, time.monotonic() - begun, _mean_of_last(folder, objectives)
    )


def step_rng(seed: int, step: int, *place: int) -> np.random.Generator:
    """Return the generator of one purpose in one step."""
    return np.random.default_rng([seed, step, *place])


class _Run:
    """A run's model, optimiser and data, and what one step does with them."""

    def __init__(
        self,
        model: OmniModel,
        objectives: Sequence[Objective],
        shares: NDArray[np.float64],
        settings: TrainSettings,
        folder: Path,
    ) -> None:
        self.model, self.objectives, self.shares = model, objectives, shares
        self.settings, self.folder = settings, folder
        self.device = next(model.parameters()).device
        extras = {o.name: o.extra.to(self.device) for o in objectives if o.extra is not None}
        self.modules: Modules = {"model": model, **{f"of {k}": m for k, m in extras.items()}}
        self.parameters = [parameter for _, parameter in iter_parameters(self.modules)]
        self.optimiser = torch.optim.AdamW(
            self._group_parameters(), lr=settings.learning_rate, fused=True
        )
        self.description = {
            "settings": settings.shaping(),
            "data": {o.name: o.size for o in objectives},
            "weights": shares.tolist(),
        }

    def _group_parameters(self) -> list[dict[str, Any]]:
        """Spare biases, norms and temperatures the weight decay (chosen here, as is usual)."""
        decayed = [p for p in self.parameters if p.ndim > 1]
        spared = [p for p in self.parameters if p.ndim <= 1]
        decay = self.settings.weight_decay
        groups = [
            {"params": decayed, "weight_decay": decay},
            {"params": spared, "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def go_on(self, start: int, on_step: Callable[[StepReport], None] | None) -> None:
        step_loss = self._wrap()
        with closing(_Recorder(self, start)) if rank() == 0 else nullcontext() as recorder:
            for step in range(start, self.settings.steps):
                report = self._do(step, step_loss)
                if recorder is not None:
                    recorder.record(report)
                if on_step is not None:
                    on_step(report)

    def _wrap(self) -> nn.Module:
        step_loss = _StepLoss(self.modules, self.objectives)
        if world_size() == 1:
            return step_loss
        # A step uses one data set's parameters and the modalities that its items have.
        return DistributedDataParallel(step_loss, find_unused_parameters=True)

    def _do(self, step: int, step_loss: nn.Module) -> StepReport:
        """Train one step."""
        seed = self.settings.seed
        self._refresh(step)
        place = int(step_rng(seed, step).choice(len(self.objectives), p=self.shares))
        objective = self.objectives[place]
        drawn = objective.draw(
            step_rng(seed, step, 1 + rank()), self.settings.batch_size // world_size()
        )
        torch.manual_seed(int(step_rng(seed, step, 1 + rank(), 0).integers(2**62)))
        rate = rate_at(step, self.settings)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        step_loss.train()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.dtype == "bfloat16"
        ):
            losses = step_loss(place, drawn)
        told = {name: float(mean_over_processes(value)) for name, value in losses.items()}
        norm = float("nan")
        if np.isfinite(told[TOTAL]):
            losses[TOTAL].backward()
            norm = float(nn.utils.clip_grad_norm_(self.parameters, self.settings.clip_norm))
        if not np.isfinite(norm):
            self._fail(step, objective.name, drawn, told)
        self.optimiser.step()
        return StepReport(step, self.settings.steps, objective.name, told, norm, rate)

    def _refresh(self, step: int) -> None:
        if step % self.settings.refresh_steps:
            return
        for place, objective in enumerate(self.objectives):
            if isinstance(objective, Refreshable):
                objective.refresh(self.model, step_rng(self.settings.seed, step, 0, place))

    def _fail(self, step: int, name: str, drawn: Drawn, losses: Mapping[str, float]) -> None:
        facts = {"step": step, "objective": name, "losses": {k: str(v) for k, v in losses.items()}}
        kept = save_failed_step(self.folder / f"process-{rank()}", self.modules, drawn, facts)
        raise TrainingError.not_finite(step, name, losses, kept)


class _Recorder:
    """Writes the curve and, when one is due, a checkpoint; of all processes only one does."""

    def __init__(self, run: _Run, start: int) -> None:
        self.run, self.curve = run, Curve(run.folder, start)
        self.written = time.monotonic()

    def record(self, report: StepReport) -> None:
        self.curve.add(report.as_line())
        done, run = report.step + 1, self.run
        if self._is_due(done, run.settings):
            self.curve.settle()
            save_checkpoint(run.folder, done, run.modules, run.optimiser, run.description)
            self.written = time.monotonic()

    def close(self) -> None:
        self.curve.close()

    def _is_due(self, done: int, settings: TrainSettings) -> bool:
        every = settings.checkpoint_steps
        waited = time.monotonic() - self.written >= 60 * settings.checkpoint_minutes
        return waited or done == settings.steps or bool(every and done % every == 0)


class _StepLoss(nn.Module):  # type: ignore[misc]  # torch has no types here
    """One step's losses as one call, which is how torch's DDP wants a model.

    Parts of the total are cut from the graph, so that only what has a gradient seems used.
    """

    def __init__(self, modules: Modules, objectives: Sequence[Objective]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules.values())
        self.objectives = objectives
        self.model = modules["model"]

    def forward(self, place: int, drawn: Drawn) -> Losses:
        """Return the losses of one objective."""
        found = self.objectives[place].loss(self.model, drawn)
        return {k: value if k == TOTAL else value.detach() for k, value in found.items()}


def _check(objectives: Sequence[Objective], weights: Sequence[float]) -> NDArray[np.float64]:
    """Return the weights as shares."""
    names = [objective.name for objective in objectives]
    if not names or len(set(names)) < len(names):
        raise ConfigError.say(
            "train", f"data sets {names}, expected distinct ones", hint="name each once"
        )
    shares = np.asarray(weights, float)
    usable = shares.shape == (len(names),) and bool(np.all(shares >= 0)) and shares.sum() > 0
    if not usable or not np.isfinite(shares).all():
        raise ConfigError.say(
            "train",
            f"weights {list(weights)} for {len(names)} data sets",
            hint="give each a weight of 0 or more, not all 0",
        )
    found: NDArray[np.float64] = shares / shares.sum()
    return found


def _mean_of_last(folder: Path, objectives: Sequence[Objective]) -> dict[str, float]:
    """Return the mean total of each objective's last tenth of steps, by the curve."""
    found, curve = {}, read_curve(folder)
    for objective in objectives:
        totals = [line["losses"][TOTAL] for line in curve if line["objective"] == objective.name]
        if totals:
            found[objective.name] = float(np.mean(totals[-max(1, len(totals) // 10) :]))
    return found
