"""What a game's title and its description are worth: a study of inputs on ifdb.

Encodes titles, descriptions, and both in one text (early fusion) with the real MiniLM, each
into tables of its own, computes the match features of each, and joins them beside one
baseline into ``joined.parquet`` with an ``experiment.yaml``. Then it runs, as anybody can:

    sail-features eval --experiment build/modality_study/experiment.yaml

Late fusion is the features of both side by side. Encoding takes most of the time, about
ten minutes on one core; what is there already is not made again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from pyspark.sql import SparkSession

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.bars import Bar, finish
from ranking_eval import split_rows
from sail_features import columns as c
from sail_features.config import EvalConfig, SailConfig, load_config
from sail_features.datasets.catalogue import load_dataset
from sail_features.datasets.dataset import Dataset
from sail_features.datasets.publish import next_midnight, publish_dataset
from sail_features.match.family import build_features, columns_of
from sail_features.spark.baseline import run_baseline
from sail_features.spark.encode import run_encode
from sail_features.spark.java import ensure_java
from sail_features.spark.match import run_match
from sail_features.spark.session import build_session
from sail_features.tables import TableStore

ROOT: Final = Path(__file__).parents[1]
DATA: Final = ROOT.parent / "shared" / "data" / "ifdb"
FOLDER: Final = ROOT / "build" / "modality_study"
DESCRIPTION: Final = "description"
INPUTS: Final = {
    "title": (c.TITLE,),
    DESCRIPTION: (DESCRIPTION,),
    "both_early": (c.TITLE, DESCRIPTION),
}
"""The text fields that each encoding reads."""
SUBSETS: Final = {
    "none": (),
    "title": ("title",),
    "description": (DESCRIPTION,),
    "title + description, early": ("both_early",),
    "title + description, late": ("title", DESCRIPTION),
}
"""The encodings whose features each subset sees."""
SEEDS: Final = (0, 1, 2)


def main() -> None:
    """Make what is missing, run the study and hold it against its bar."""
    frame, spec = FOLDER / "joined.parquet", FOLDER / "experiment.yaml"
    if not spec.is_file():
        costs = make_frame(frame)
        spec.write_text(yaml.safe_dump(describe(frame, costs), sort_keys=False))
    command = Path(sys.executable).parent / "sail-features"
    subprocess.run([command, "eval", "--experiment", spec], check=True)
    summary = json.loads((FOLDER / "study" / "summary.json").read_text())
    finish("modality_study", judge(summary), summary["subsets"])


def judge(summary: dict[str, Any]) -> list[Bar]:
    """Hold the empty subset against control; what inputs gain is a result, and no bar."""
    none = summary["subsets"]["none"]["lift"]["auc"]["delta"]
    return [Bar("empty subset less control", abs(none), "at most", 0, "AUC")]


def make_frame(path: Path) -> dict[str, float]:
    """Write the impressions with all features; return encode seconds a 1,000 items by encoding."""
    dataset = with_descriptions(load_dataset(str(DATA)))
    times, labels = (dataset.impressions[name] for name in (c.EVENT_TIMESTAMP, c.LABEL))
    fit_until = split_rows(times, labels, EvalConfig()).warmup_end
    config = load_config(ROOT / "sail.yaml")
    ensure_java()
    spark = build_session(config.spark, "modality study")
    joined, costs = dataset.impressions, {}
    try:
        for name, fields in INPUTS.items():
            store = TableStore(FOLDER / name)
            costs[name] = encode_and_match(
                spark, store, dataset, reading(config, fields), fit_until
            )
            joined = beside(joined, store.read("user_item_match"), name, config)
        run_baseline(spark, store, config, as_of=next_midnight(dataset))
        joined = beside(joined, store.read("user_item_baseline"), "baseline", config)
    finally:
        spark.stop()
    pq.write_table(joined, path)
    return costs


def with_descriptions(dataset: Dataset) -> Dataset:
    """Return the data with each game's description in a column of its own."""
    described = pq.read_table(DATA / "items.parquet", columns=[c.ITEM_ID, DESCRIPTION])
    places = pc.index_in(dataset.items[c.ITEM_ID], value_set=described[c.ITEM_ID].combine_chunks())
    texts = described[DESCRIPTION].take(places)
    return replace(dataset, items=dataset.items.append_column(DESCRIPTION, texts))


def reading(config: SailConfig, fields: tuple[str, ...]) -> SailConfig:
    """Return settings under which the encoder reads these fields."""
    encoder = config.encoder.model_copy(update={"text_fields": fields})
    return config.model_copy(update={"encoder": encoder})


def encode_and_match(
    spark: SparkSession,
    store: TableStore,
    dataset: Dataset,
    config: SailConfig,
    fit_until: datetime,
) -> float:
    """Make the tables that aren't there; return encode seconds a 1,000 distinct texts."""
    as_of = next_midnight(dataset)
    if not store.manifests("item_embedding"):
        publish_dataset(store, dataset, as_of=as_of)
        run_encode(spark, store, config, as_of=as_of)
    if not store.manifests("user_item_match"):
        run_match(spark, store, config, as_of=as_of, fit_until=fit_until)
    summary = store.latest("item_embedding").lineage["summary"]
    return 1000 * float(summary["seconds"]) / int(summary["encoded"])


def beside(rows: pa.Table, features: pa.Table, name: str, config: SailConfig) -> pa.Table:
    """Return the rows with a pair table's features as ``name__feature``."""
    match = columns_of(build_features(config.match, categories=True, interests=True))
    kept = [
        one
        for one in features.column_names
        if one in match
        or one == c.FEATURE_TIME
        or (name == "baseline" and is_feature(features, one))
    ]
    named = features.select([*c.PAIR, *kept])
    named = named.rename_columns([*c.PAIR, *(f"{name}__{one}" for one in kept)])
    lag = pa.scalar(config.history.lag, pa.duration("us"))
    stamped = rows.append_column("as_of", pc.subtract(rows[c.EVENT_TIMESTAMP], lag))
    keys = [c.USER_ID, c.ITEM_ID, "as_of"]
    joined = stamped.join(named, keys, right_keys=list(c.PAIR))
    return joined.drop_columns(["as_of"])


def is_feature(table: pa.Table, name: str) -> bool:
    """Say whether a ranker can read a column of the baseline's table."""
    kind = table.schema.field(name).type
    is_lineage = name in (*c.PAIR, c.FEATURE_SET_ID, c.ENCODER_ID)
    return not is_lineage and not pa.types.is_timestamp(kind)


def describe(frame: Path, costs: dict[str, float]) -> dict[str, Any]:
    """Return the study as its file says it."""
    names = pq.read_schema(frame).names
    ends = (c.FEATURE_TIME,)
    subsets = {
        name: {
            "add": [
                one
                for one in names
                if one.partition("__")[0] in encodings and not one.endswith(ends)
            ],
            "cost": {"encode_s_per_1k_items": round(sum(costs[one] for one in encodings), 3)},
        }
        for name, encodings in SUBSETS.items()
    }
    control = [one for one in names if one.startswith("baseline__") and not one.endswith(ends)]
    return {
        "name": "ifdb: title and description",
        "frame": frame.name,
        "control": control,
        "subsets": subsets,
        "eval": {"seeds": list(SEEDS), "slices": []},
    }


if __name__ == "__main__":
    main()
