"""How a run of training steps goes, whatever it trains on."""

from __future__ import annotations

from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from sail_features.config import Section

WARMUP_STEPS: Final = 50


class TrainSettings(Section):
    """Parameters of one run; its defaults are chosen here, for small models.

    ``batch_size`` counts over all processes. The learning rate rises over
    ``warmup_steps`` (where none are given 50, of a short run half), then falls by half a
    cosine to ``final_rate`` times itself (the paper goes from 1e-5 to 6e-6 at a weight decay
    of 1e-4). ``dtype`` bfloat16 computes the model under autocast; weights and losses stay
    float32. ``refresh_steps``: how often hard negatives are mined again. A checkpoint is
    written every ``checkpoint_minutes``, and every ``checkpoint_steps`` where those are set.
    """

    steps: int = Field(default=1000, ge=1)
    batch_size: int = Field(default=256, ge=2)
    learning_rate: float = Field(default=1e-3, gt=0)
    final_rate: float = Field(default=0.1, ge=0, le=1)
    warmup_steps: int = Field(default=WARMUP_STEPS, ge=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip_norm: float = Field(default=1.0, gt=0)
    dtype: Literal["float32", "bfloat16"] = "float32"
    refresh_steps: int = Field(default=200, ge=1)
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    checkpoint_steps: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _shorten_warm_up(cls, given: Any) -> Any:
        steps = given.get("steps") if isinstance(given, dict) else None
        if isinstance(steps, int) and "warmup_steps" not in given:
            return {**given, "warmup_steps": max(0, min(WARMUP_STEPS, steps // 2))}
        return given

    @model_validator(mode="after")
    def _warm_up_first(self) -> Self:
        if self.warmup_steps > self.steps:
            raise ValueError(f"{self.warmup_steps} steps of warm-up in a run of {self.steps}")
        return self

    def shaping(self) -> dict[str, object]:
        """Return what changes the weights: all but when checkpoints are written."""
        return self.model_dump(mode="json", exclude={"checkpoint_minutes", "checkpoint_steps"})
