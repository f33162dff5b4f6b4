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
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

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
    ``sail`` is a folder that was trained here; it reads ``text_fields`` (which may be
    empty), ``image_field`` and ``audio_field`` together, and bears that an item lacks some.
    ``dtype: auto`` is bf16 where the hardware has it; it is resolved once, by the
    driver. ``tokens_per_batch`` changes no vector; null finds the fastest by a short probe.
    """

    kind: Literal["transformer_text", "vision", "audio", "hash", "sail"] = "transformer_text"
    model: str | None = None
    text_fields: tuple[str, ...] = ("text",)
    max_tokens: int = Field(default=128, ge=8, le=8192)
    prompt: str = ""
    dtype: Literal["auto", "float32", "bfloat16"] = "float32"
    backend: Literal["torch", "openvino"] = "torch"
    tokens_per_batch: int | None = Field(default=None, ge=64)
    media_field: str | None = None
    """Null takes ``image_path`` or ``audio_path``, whichever the kind reads."""
    image_field: str | None = None
    audio_field: str | None = None
    media_root: Path | None = None
    """Folder, mounted on every executor, that all media paths must lie in."""
    max_media_bytes: int = Field(default=64 << 20, ge=1)
    dim: int = Field(default=256, ge=8, le=8192)
    max_quarantine_share: float = Field(default=0.05, ge=0, le=1)

    @field_validator("text_fields")
    @classmethod
    def _need_texts(cls, fields: tuple[str, ...], others: ValidationInfo) -> tuple[str, ...]:
        if not fields and others.data.get("kind") != "sail":
            raise ValueError("names no column; only kind sail can do without a text")
        return fields

    @model_validator(mode="after")
    def _check_fields(self) -> Self:
        of_sail = self.image_field or self.audio_field
        if self.kind == "sail" and self.media_field:
            raise ValueError("media_field isn't for kind sail: set image_field and audio_field")
        if self.kind != "sail" and of_sail:
            raise ValueError(f"image_field and audio_field are for kind sail, not {self.kind}")
        if not self.text_fields and not of_sail:
            raise ValueError("no text_fields, no image_field and no audio_field: nothing to read")
        return self

    @property
    def media_column(self) -> str | None:
        """The column of items that holds the media; None where other things are read."""
        return self.media_field or {"vision": "image_path", "audio": "audio_path"}.get(self.kind)

    @property
    def media_columns(self) -> dict[str, str]:
        """Modality to the column of items that holds its files, of kind ``sail``."""
        named = {"audio": self.audio_field, "vision": self.image_field}
        return {modality: column for modality, column in named.items() if column is not None}

    @property
    def reads_files(self) -> bool:
        """Whether any content is a file."""
        return self.media_column is not None or bool(self.media_columns)

    @property
    def content_columns(self) -> dict[str, str]:
        """The columns of items that are read, each with the setting that names it."""
        if self.media_column is not None:
            return {self.media_column: "media_field"}
        files = {self.image_field: "image_field", self.audio_field: "audio_field"}
        texts = dict.fromkeys(self.text_fields, "text_fields")
        return texts | {column: setting for column, setting in files.items() if column is not None}


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


class ClusterConfig(Section):
    """Global clusters of the catalogue at two levels, and users' histograms over them.

    ``primary``, ``secondary``: how many clusters each level has. ``max_events``: a
    histogram counts the newest so many likes. ``tail_share``: the rarest secondary
    clusters, which together hold at most this share of all likes, are the long tail; in
    one of them a user with ``min_tail_count`` likes has a long-tail interest. Numbers of
    clusters and both counts: Trinity's (arXiv 2402.02842); the share: chosen here.
    """

    primary: int = Field(default=128, ge=1, le=65_536)
    secondary: int = Field(default=1_024, ge=1, le=1 << 20)
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    max_events: int = Field(default=2_500, ge=1, le=100_000)
    tail_share: float = Field(default=0.2, ge=0, lt=1)
    min_tail_count: int = Field(default=3, ge=1)

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        if self.primary > self.secondary:
            raise ValueError(
                f"{self.primary} primary clusters of {self.secondary} secondary ones: "
                "a primary cluster is a group of secondary ones"
            )
        return self


class InterestConfig(Section):
    """How a user's interests are mined from the newest liked events.

    ``algorithm``: chosen by `benchmarks/interests.py`, see decision 0011. ``distance_cut``
    is Ward's, on the scale of distances between unit vectors: clusters up to this far
    apart become one interest; 0 leaves it to ``max_interests``. ``leader_similarity`` is
    the online leader's: the least cosine at which an event joins an interest.
    ``half_life_days``: after this long an event counts half in weights and centroids.
    ``clusters``: histograms over clusters that all users share; they take ``lookback_days``
    and ``half_life_days`` from here.
    """

    algorithm: Literal["ward", "kmeans", "leader"] = "ward"
    lookback_days: float = Field(default=365.0, gt=0, le=MAX_DAYS)
    max_events: int = Field(default=100, ge=1, le=2_000)
    max_interests: int = Field(default=8, ge=1, le=64)
    distance_cut: float = Field(default=0.0, ge=0)
    leader_similarity: float = Field(default=0.2, ge=-1, le=1)
    half_life_days: float = Field(default=30.0, gt=0, le=MAX_DAYS)
    clusters: ClusterConfig = ClusterConfig()


class PairConfig(Section):
    """Which pairs of items are mined from the events, to train an encoder on.

    ``window_hours``: the most time between two engagements of a user that make a pair.
    ``min_support``: users that a pair needs. ``max_partners``: the strongest pairs of an
    item that are kept. ``max_events``: newest engagements of a user that are paired, so
    that nobody makes more than its square of pairs.
    """

    window_hours: float = Field(default=24.0, gt=0, le=MAX_DAYS * 24)
    min_support: int = Field(default=3, ge=1)
    max_partners: int = Field(default=20, ge=1)
    max_events: int = Field(default=200, ge=2, le=10_000)


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
    """Whether to fit what must show nothing: other seeds, shuffled columns, permuted labels, and
    the workspace's arms of random vectors and of histories cut earlier."""
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
    pairs: PairConfig = PairConfig()
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
    """Return the configuration with its paths absolute."""
    return config.model_copy(
        update={
            "workspace": (folder / config.workspace).resolve(),
            "encoder": resolve_encoder_paths(config.encoder, folder),
        }
    )


def resolve_encoder_paths(encoder: EncoderConfig, folder: Path) -> EncoderConfig:
    """Return the encoder's settings with their paths absolute.

    A model is a path where there is such a folder, and else an id.
    """
    changes: dict[str, Any] = {}
    if encoder.media_root is not None:
        changes["media_root"] = (folder / encoder.media_root).resolve()
    if encoder.model is not None and (folder / encoder.model).is_dir():
        changes["model"] = str((folder / encoder.model).resolve())
    return encoder.model_copy(update=changes)


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
