"""``sail.yaml``: everything a user may set, with its default and its unit.

One file configures all jobs, the feature repository and the experiment, so that
training, serving and judging can't drift apart.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from sail_features.errors import ConfigError

CONFIG_NAME = "sail.yaml"
CONFIG_VARIABLE = "SAIL_CONFIG"
MAX_DAYS = 36_500
"""A century: longer windows are a slip of the unit, and overflow microseconds."""


class Section(BaseModel):
    """A part of the configuration: frozen, and closed to unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EncoderConfig(Section):
    """Which encoder turns an item into a vector.

    ``model`` is a Hugging Face id or a local folder; null takes the MiniLM that
    is installed with this package (``vision`` and ``audio`` have none). ``dim`` belongs
    to the hash encoder alone, ``max_tokens``, ``prompt`` and ``backend`` to texts,
    ``media_field``, ``media_root`` and ``max_media_bytes`` to images and sounds; a
    media field holds a path, bytes, or a list of either (the frames of a video).
    ``dtype: auto`` is bf16 where the hardware has it; it is resolved once, by the
    driver. ``tokens_per_batch`` changes no vector; null finds the fastest by a short probe.
    """

    kind: Literal["transformer_text", "vision", "audio", "hash"] = "transformer_text"
    model: str | None = None
    text_fields: tuple[str, ...] = Field(default=("text",), min_length=1)
    max_tokens: int = Field(default=128, ge=8, le=8192)
    prompt: str = ""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    backend: Literal["torch", "openvino"] = "torch"
    tokens_per_batch: int | None = Field(default=None, ge=64)
    media_field: str | None = None
    """Null takes ``image_path`` or ``audio_path``, whichever the kind reads."""
    media_root: Path | None = None
    """Folder, mounted on every executor, that all media paths must lie in."""
    max_media_bytes: int = Field(default=64 << 20, ge=1)
    dim: int = Field(default=256, ge=8, le=8192)
    max_quarantine_share: float = Field(default=0.05, ge=0, le=1)

    @property
    def media_column(self) -> str | None:
        """The column of items that holds the media; None where texts are read."""
        return self.media_field or {"vision": "image_path", "audio": "audio_path"}.get(self.kind)


class HistoryConfig(Section):
    """Which past events a user's history holds.

    ``lag_s``: an impression at t is matched as of t minus this many seconds, and
    sees events strictly before that; at least one microsecond. ``unclicked_weight``:
    the signed feedback that a logged impression without a click counts as; null
    leaves such impressions out.
    """

    lookback_days: float = Field(default=365.0, gt=0, le=MAX_DAYS)
    max_events: int = Field(default=100, ge=1, le=10_000)
    lag_s: float = Field(default=1e-6, ge=1e-6, le=MAX_DAYS * 86_400)
    unclicked_weight: float | None = Field(default=-0.5, lt=0)

    @property
    def lag(self) -> timedelta:
        """``lag_s`` as a duration."""
        return timedelta(seconds=self.lag_s)


class MatchConfig(Section):
    """Parameters of the match features; a change of any changes ``feature_set_id``.

    ``neighbours``: nearest history items that the mean of past feedback is taken over.
    ``recent_days``: what counts as lately where the recent past is held against the
    earlier one. ``windows_days`` and ``event_types``: further columns on the last so
    many days of the history, and on events of one type; they end with ``_7d`` or
    ``_buy``. ``dim``: only the first so many numbers of each vector are compared, for
    encoders trained for it (Matryoshka); null takes all.
    """

    histogram_bins: int = Field(default=10, ge=2, le=64)
    half_life_days: float = Field(default=30.0, gt=0, le=MAX_DAYS)
    neighbours: int = Field(default=10, ge=1, le=16)
    top_similarities: int = Field(default=5, ge=1, le=16)
    recent_days: float = Field(default=7.0, gt=0, le=MAX_DAYS)
    windows_days: tuple[Annotated[int, Field(ge=1, le=MAX_DAYS)], ...] = ()
    event_types: tuple[Annotated[str, Field(pattern=r"^\w+$")], ...] = ()
    dim: int | None = Field(default=None, ge=8)


class InterestConfig(Section):
    """How a user's interests are mined from the newest liked events.

    ``algorithm``: chosen by `benchmarks/interests.py`, see decision 0011. ``distance_cut``
    is Ward's, on the scale of distances between unit vectors: clusters up to this far
    apart become one interest; 0 leaves it to ``max_interests``. ``leader_similarity`` is
    the online leader's: the least cosine at which an event joins an interest.
    ``half_life_days``: after this long an event counts half in weights and centroids.
    """

    algorithm: Literal["ward", "kmeans", "leader"] = "ward"
    lookback_days: float = Field(default=365.0, gt=0, le=MAX_DAYS)
    max_events: int = Field(default=100, ge=1, le=2_000)
    max_interests: int = Field(default=8, ge=1, le=64)
    distance_cut: float = Field(default=0.0, ge=0)
    leader_similarity: float = Field(default=0.2, ge=-1, le=1)
    half_life_days: float = Field(default=30.0, gt=0, le=MAX_DAYS)


class BaselineConfig(Section):
    """Parameters of the ordinary point-in-time features that every arm has."""

    smoothing: float = Field(default=20.0, ge=0)
    recent_days: float = Field(default=30.0, gt=0, le=MAX_DAYS)


class GpuConfig(Section):
    """How many GPUs the encode job asks Spark for; none unless ``per_executor`` is set.

    ``per_task``: the share of a device that one task takes; it never drives two.
    ``discovery_script``: the path, on the machines that own the devices, of a program
    that prints their addresses, such as `jobs/conf/discover_gpus.sh`. ``stage_level``:
    only the encode stage asks for devices, so that other stages use all cores.
    """

    per_executor: int = Field(default=0, ge=0)
    per_task: float = Field(default=1, gt=0, le=1)
    discovery_script: str | None = None
    stage_level: bool = False


class SparkConfig(Section):
    """Where Spark runs; ``conf`` is passed on as it is and wins over our defaults."""

    master: str = "local[2,4]"
    """Two tasks at once on this machine, each tried four times if its worker dies."""
    driver_memory: str = "2g"
    buckets: int = Field(default=8, ge=1)
    """Hash buckets of users that the feature jobs work on, each by one task."""
    keep_user_events: bool = False
    """Keep events by user, sorted, beside the tables: space for the match job's time."""
    item_vectors: Literal["shared", "bucketed"] = "shared"
    """How the match job's tasks read vectors: one memory-mapped file of all items, or, where
    no machine's memory holds that, a file a bucket, joined by Spark in every run."""
    gpu: GpuConfig = GpuConfig()
    conf: dict[str, str] = Field(default_factory=dict)


Share = Annotated[float, Field(gt=0, lt=1)]


class EvalConfig(Section):
    """How the ranker is trained and judged. All shares are of time-ordered rows.

    Rows run warm-up, train, validation, test. Artefacts (histogram edges) are
    fitted on the warm-up, which the ranker never sees. ``gap_s`` separates each
    of the three from the next.
    """

    warmup_share: Share = 0.15
    validation_share: Share = 0.1
    test_share: Share = 0.25
    gap_s: float = Field(default=0.0, ge=0)
    folds: int = Field(default=1, ge=1, le=50)
    """Blocks of the test period; a ranker is fitted again before each."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    ranker: Literal["lightgbm", "logistic"] = "lightgbm"
    tuning_trials: int = Field(default=0, ge=0)
    """Trials of LightGBM's parameters for each arm, by Optuna on validation rows; 0: none."""
    max_rounds: int = Field(default=600, ge=1)
    early_stopping_rounds: int = Field(default=30, ge=1)
    params: dict[str, float | int | str | bool] = Field(default_factory=dict)
    max_rows: int = Field(default=500_000, ge=100)
    """Above this many impressions, whole users are sampled by hash."""
    cluster_by: str = "user_id"
    """Column of what was sampled: rows that share a value are not independent."""
    slices: tuple[str, ...] = ("item_earlier_rows", "user_earlier_rows", "test_time")
    """Parts of the test rows that get a lift of their own: by these three, or by columns."""
    controls: bool = True
    """Whether to fit what must show nothing: other seeds, shuffled columns, permuted labels."""
    target_lift: float = Field(default=0.001, gt=0)
    """The smallest lift of AUC worth having: without one in sight, more data is needed to
    see it (``inconclusive``), or there is none (``no lift``)."""

    @model_validator(mode="after")
    def _leave_room_for_training(self) -> Self:
        used = self.warmup_share + self.validation_share + self.test_share
        if used >= 0.9:
            raise ValueError(f"warm-up, validation and test take {used:.0%}; leave 10 % to train")
        return self


class SailConfig(Section):
    """The whole of ``sail.yaml``. Paths are relative to the file itself."""

    workspace: Path = Path("build")
    encoder: EncoderConfig = EncoderConfig()
    history: HistoryConfig = HistoryConfig()
    match: MatchConfig = MatchConfig()
    interests: InterestConfig = InterestConfig()
    baseline: BaselineConfig = BaselineConfig()
    spark: SparkConfig = SparkConfig()
    eval: EvalConfig = EvalConfig()

    @property
    def tables(self) -> Path:
        """Folder that holds one folder a table."""
        return self.workspace / "tables"


def load_config(path: Path) -> SailConfig:
    """Read and validate one ``sail.yaml``.

    Raises
    ------
    ConfigError
        No such file, invalid YAML, an unknown key or a value out of range; the
        message names the key.
    """
    if not path.is_file():
        raise ConfigError.file_missing(path)
    try:
        raw: Any = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        config = SailConfig.model_validate(raw)
    except (OSError, yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
        raise ConfigError.unreadable(path, error) from error
    return _resolve_paths(config, path.resolve().parent)


def _resolve_paths(config: SailConfig, folder: Path) -> SailConfig:
    """Return the configuration with its paths absolute.

    A model is a path where there is such a folder, and else an id.
    """
    encoder = config.encoder
    changes: dict[str, Any] = {}
    if encoder.media_root is not None:
        changes["media_root"] = (folder / encoder.media_root).resolve()
    if encoder.model is not None and (folder / encoder.model).is_dir():
        changes["model"] = str((folder / encoder.model).resolve())
    return config.model_copy(
        update={
            "workspace": (folder / config.workspace).resolve(),
            "encoder": encoder.model_copy(update=changes),
        }
    )


def find_config(start: Path) -> Path:
    """Return the ``sail.yaml`` that ``SAIL_CONFIG`` names, or the nearest above ``start``.

    Raises
    ------
    ConfigError
        Neither exists.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / CONFIG_NAME).is_file():
            return folder / CONFIG_NAME
    raise ConfigError.file_missing(start / CONFIG_NAME)
