"""The rows that a workspace's experiment is judged on: all arms, joined once through Feast."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from ranking_eval import Arm, Artefact, Experiment
from ranking_eval.cost import GivenCost
from ranking_eval.join_cache import keep_join, load_join
from ranking_eval.retrieval import retrieve
from sail_features import __version__
from sail_features import columns as c
from sail_features.config import SailConfig
from sail_features.feast_plugin import open_feature_store
from sail_features.feast_plugin.recompute import find_service
from sail_features.feast_plugin.serving_time import measure_serving
from sail_features.manifest import sha256_of
from sail_features.match.family import build_features
from sail_features.steps import StepMeter
from sail_features.tables import TableStore

TREATMENT: Final = "treatment"
TABLES: Final = {
    "control": "user_item_baseline",
    TREATMENT: "user_item_match",
    "placebo": "user_item_match_placebo",
    "random": "user_item_match_random",
    "lagged": "user_item_match_lagged",
}
"""What each arm is made of."""
MAY_LACK: Final = ("random", "lagged")
"""Arms that are compared where their table was computed."""
ENCODER: Final = "item_embedding"
WITHOUT_VECTORS: Final = ("history_counts", "category_match")
"""Match features that need no encoder."""
IMPRESSION_COLUMNS: Final = (c.REQUEST_ID, c.USER_ID, c.ITEM_ID, c.EVENT_TIMESTAMP, c.LABEL)


def join_arms(
    store: TableStore, repo: Path, config: SailConfig, meter: StepMeter
) -> tuple[pa.Table, Experiment]:
    """Return the impressions with the features of all arms, and the experiment.

    The same tables, services and settings are joined once, and read back after that.

    Raises
    ------
    InputError
        The feature repository lacks the service of an arm.
    EvaluationError
        The join lost rows.
    """
    dataset = str(store.latest("impressions").lineage["dataset"])
    services = {arm: f"ranker_{arm}" for arm in list_arms(store, config)}
    with meter.step("join") as step:
        rows, arms = _join_once(store, repo, config, services)
        step.say(f"{rows.num_rows:,} rows, {rows.num_columns} columns, through Feast")
    random, lagged = (arm if arm in services else None for arm in MAY_LACK)
    artefacts = list_artefacts(store)
    experiment = Experiment(
        dataset, arms, config.eval, artefacts=artefacts, random=random, lagged=lagged
    )
    return rows, experiment


def list_arms(store: TableStore, config: SailConfig) -> list[str]:
    """Return the arms to compare: without controls, those that a verdict needs."""
    wanted = MAY_LACK if config.eval.controls else ()
    return [
        arm
        for arm, table in TABLES.items()
        if arm not in MAY_LACK or (arm in wanted and store.manifests(table))
    ]


def list_artefacts(store: TableStore) -> tuple[Artefact, ...]:
    """Return all that was fitted on interactions, with the time it was fitted until."""
    artefacts = []
    for table in (ENCODER, *TABLES.values()):
        for manifest in store.covering(table) if store.manifests(table) else ():
            until = manifest.lineage.get("trained_until")
            if until is not None:
                name = f"{table} {manifest.lineage.get('feature_set_id', '')}".strip()
                artefacts.append(Artefact(name, datetime.fromisoformat(until)))
    return tuple(artefacts)


def group_columns(experiment: Experiment, config: SailConfig) -> dict[str, list[str]]:
    """Return the columns that the treatment adds, by the match feature that they belong to."""
    groups = {
        feature.name: [
            n for n in experiment.added_columns if n.rpartition("__")[2] in feature.columns
        ]
        for feature in build_features(config.match, categories=True, interests=True)
    }
    return {name: columns for name, columns in groups.items() if columns}


def price_groups(store: TableStore, groups: list[str]) -> dict[str, GivenCost]:
    """Return what each group of match features, and the whole treatment, costs.

    Encoding is known where a run of the present partitions encoded anything, and costs
    nothing for features that read no vectors; serving where the newest match can be served.
    """
    encoding, serving = _price_encoding(store), measure_serving(store, groups)
    return {
        name: GivenCost(
            online_ms=serving.get("" if name == TREATMENT else name),
            encode_s_per_1k_items=encoding and (0.0 if name in WITHOUT_VECTORS else encoding),
        )
        for name in (TREATMENT, *groups)
    }


def _price_encoding(store: TableStore) -> float | None:
    """Return the seconds that a thousand items took; None where nothing was encoded."""
    runs = [manifest.lineage.get("summary", {}) for manifest in store.covering(ENCODER)]
    encoded: int = sum(run.get("encoded", 0) for run in runs)
    if not encoded:
        return None
    return 1000 * float(sum(run["seconds"] for run in runs if run.get("encoded"))) / encoded


def _join_once(
    store: TableStore, repo: Path, config: SailConfig, services: dict[str, str]
) -> tuple[pa.Table, tuple[Arm, ...]]:
    feast = open_feature_store(repo)
    folder = config.workspace / "joined"
    fingerprint = _fingerprint(store, feast, config, services)
    found = load_join(folder, fingerprint)
    if found is None:
        impressions = store.read("impressions")
        kept = [name for name in impressions.column_names if name in _wanted(config)]
        found = retrieve(feast, impressions.select(kept), services, lag=config.history.lag)
        keep_join(folder, fingerprint, *found)
    return found


def _fingerprint(
    store: TableStore, feast: Any, config: SailConfig, services: dict[str, str]
) -> str:
    """Return a hash of all that a join depends on: tables, declarations and settings."""
    tables = ("impressions", ENCODER, *(TABLES[arm] for arm in services))
    data = {name: [one.fingerprint for one in store.covering(name)] for name in tables}
    declared = {
        arm: [
            (
                view.name_to_use(),
                [feature.name for feature in view.features],
                _declared_at(feast, view),
            )
            for view in find_service(feast, service).feature_view_projections
        ]
        for arm, service in services.items()
    }
    return sha256_of([__version__, data, declared, config.history.lag_s, sorted(_wanted(config))])


def _declared_at(feast: Any, projection: Any) -> str:
    """Return when a view was last changed: it reads the partitions that there were then."""
    return str(feast.get_feature_view(projection.name).last_updated_timestamp)


def _wanted(config: SailConfig) -> set[str]:
    return {*IMPRESSION_COLUMNS, config.eval.cluster_by, *config.eval.slices}
