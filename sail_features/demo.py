"""The whole way on one data set: import, encode, features, Feast, LightGBM, report.

Lays a project of its own into the workspace: ``sail.yaml``, ``feature_repo/``,
``tables/``, ``mlflow.db``, ``summary.json`` and ``report.html``, so that everything
can be looked into with ordinary ``feast`` and ``mlflow`` commands afterwards.
"""

from __future__ import annotations

import shutil
import sys
from contextlib import redirect_stdout
from datetime import datetime, timedelta
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Final

import yaml
from rich.console import Console

from ranking_eval import split_rows
from ranking_eval.table import print_summary
from sail_features import columns as c
from sail_features.config import CONFIG_NAME, SailConfig, load_config
from sail_features.datasets.catalogue import load_dataset
from sail_features.datasets.publish import next_midnight, publish_dataset, sample_users
from sail_features.datasets.synthetic import SyntheticConfig
from sail_features.errors import ConfigError
from sail_features.feast_plugin import apply_repo, materialize, open_feature_store
from sail_features.history import HistoryCut
from sail_features.judging import Outcome, run_experiment, tracking_uri
from sail_features.manifest import Manifest
from sail_features.placebo import Placebo
from sail_features.project import FEATURE_REPO, copy_feature_repo
from sail_features.spark.baseline import run_baseline
from sail_features.spark.encode import run_encode
from sail_features.spark.encode_summary import EncodeSummary
from sail_features.spark.failures import explained
from sail_features.spark.history import run_history
from sail_features.spark.interests import run_interests
from sail_features.spark.java import ensure_java
from sail_features.spark.match import run_match
from sail_features.spark.session import build_session
from sail_features.steps import StepMeter
from sail_features.tables import TableStore

MARK: Final = ".sail-features-demo"
"""Lies in a folder that a demo made, and that the next one may therefore empty."""
ARM_SEED: Final = 0
"""Of the vectors that aren't the items' own."""
DELAY: Final = timedelta(hours=1)
"""How much earlier the lagged arm's histories end."""
SNAPSHOTS_EVERY: Final = timedelta(days=1)
"""How often interests are mined, as a nightly job would have."""


def run_demo(
    data: str,
    config: SailConfig,
    repo_template: Path,
    console: Console,
    *,
    world: SyntheticConfig | None = None,
) -> Outcome:
    """Run every step on ``data`` and print one table at the end.

    Parameters
    ----------
    data : ``synthetic``, or the folder of a public data set.
    config : settings; its workspace is replaced.
    repo_template : the feature repository to copy into the workspace.
    console : for progress and the table.
    world : size, seed and planted effect of the synthetic world.

    Raises
    ------
    InputError, ConfigError, EvaluationError
        The data or the settings can't be used, or can't be split for the ranker; an
        earlier demo is left as it was.
    """
    console.print(f"sail-features demo: {data}, in {config.workspace}", highlight=False)
    meter = StepMeter(console)
    notes = []
    with meter.step("import") as step:
        dataset = sample_users(load_dataset(data, world=world), config.eval.max_rows)
        times, labels = (dataset.impressions[name] for name in (c.EVENT_TIMESTAMP, c.LABEL))
        split = split_rows(times, labels, config.eval)
        config, repo = lay_out_workspace(config, repo_template)
        store = TableStore(config.tables)
        as_of = next_midnight(dataset)
        publish_dataset(store, dataset, as_of=as_of)
        notes += ["sampled negatives"] if dataset.negatives == "sampled" else []
        step.say(
            f"{dataset.items.num_rows:,} items, {dataset.events.num_rows:,} events, "
            f"{dataset.impressions.num_rows:,} impressions ({dataset.negatives} negatives)"
        )
    notes += [f"policy {policy}: {count:,} rows" for policy, count in dataset.dropped.items()]
    for note in (*dataset.notes, *notes):
        console.print(f"  note: {note}", style="dim", highlight=False, markup=False)
    make_features(store, config, meter, as_of=as_of, fit_until=split.warmup_end)
    with meter.step("apply") as step:
        apply_repo(repo)
        step.say("feast apply")
    with meter.step("materialize") as step, redirect_stdout(StringIO()):
        materialize(open_feature_store(repo), as_of)
        step.say("item_embedding and user_history, to the online store")
    outcome = run_experiment(store, repo, config, meter, notes=[*dataset.notes, *notes])
    print_summary(outcome.summary, console)
    _print_next_commands(config, repo, outcome, console)
    return outcome


def make_features(
    store: TableStore,
    config: SailConfig,
    meter: StepMeter,
    *,
    as_of: datetime,
    fit_until: datetime,
) -> None:
    """Run all Spark jobs of one ``as_of`` in one session."""
    with explained("demo"):
        _make_features(store, config, meter, as_of=as_of, fit_until=fit_until)


def _make_features(
    store: TableStore,
    config: SailConfig,
    meter: StepMeter,
    *,
    as_of: datetime,
    fit_until: datetime,
) -> None:
    with meter.step("spark") as step:
        step.say(ensure_java())
        spark = build_session(config.spark, "sail-features demo")
    try:
        with meter.step("encode") as step:
            encoded = run_encode(spark, store, config, as_of=as_of, watch=step.watch)
            step.say(_describe_encoding(encoded))
        with meter.step("history") as step:
            step.say(_rows(run_history(spark, store, config, as_of=as_of)))
        with meter.step("interests") as step:
            mined = run_interests(spark, store, config, as_of=as_of, every=SNAPSHOTS_EVERY)
            step.say(_rows(mined))
        with meter.step("baseline") as step:
            step.say(_rows(run_baseline(spark, store, config, as_of=as_of)))
        match = partial(run_match, spark, store, config, as_of=as_of, fit_until=fit_until)
        with meter.step("match") as step:
            step.say(_rows(match()))
        with meter.step("placebo") as step:
            step.say(_rows(match(placebo=Placebo("permuted", ARM_SEED))))
        if config.eval.controls:
            with meter.step("random") as step:
                step.say(_rows(match(placebo=Placebo("random", ARM_SEED))))
            with meter.step("lagged") as step:
                step.say(_rows(match(cut=HistoryCut(DELAY))))
    finally:
        spark.stop()


def lay_out_workspace(config: SailConfig, repo_template: Path) -> tuple[SailConfig, Path]:
    """Empty the workspace of an earlier demo and write its settings and repository.

    A folder that holds anything but a demo is refused.

    Raises
    ------
    ConfigError
        No feature repository to copy, or a workspace that isn't a demo's.
    """
    if not (repo_template / "feature_store.yaml").is_file():
        raise ConfigError.say(
            str(repo_template),
            "no feature repository",
            hint="give --feature-repo the folder of one, or leave it out",
        )
    workspace = config.workspace
    settings = workspace / CONFIG_NAME
    if workspace.exists() and any(workspace.iterdir()) and not (workspace / MARK).is_file():
        raise ConfigError.say(
            str(workspace), "holds something else than a demo", hint="give an empty --workspace"
        )
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir(parents=True)
    (workspace / MARK).touch()
    repo = workspace / FEATURE_REPO
    copy_feature_repo(repo_template, repo)
    written = config.model_dump(mode="json") | {"workspace": "."}
    settings.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
    return load_config(settings), repo


def _describe_encoding(manifest: Manifest) -> str:
    summary = EncodeSummary.model_validate(manifest.lineage["summary"])
    return (
        f"{manifest.rows:,} items, {summary.encoded:,} contents encoded, "
        f"{summary.quarantined:,} quarantined, {manifest.lineage['encoder_id']}"
    )


def _rows(manifest: Manifest) -> str:
    return f"{manifest.rows:,} rows"


def _print_next_commands(
    config: SailConfig, repo: Path, outcome: Outcome, console: Console
) -> None:
    console.print("\nLook further:")
    programs = Path(sys.executable).parent
    for command in (
        f"report: {outcome.report}",
        f"{programs / 'mlflow'} ui --backend-store-uri {tracking_uri(config)}",
        f"cd {repo} && {programs / 'feast'} ui",
    ):
        console.print(f"  {command}", highlight=False, markup=False, soft_wrap=True)
