"""The Spark session that Feast's stores and engines work in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from pyspark import SparkContext
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

from sail_features.config import SparkConfig
from sail_features.errors import ConfigError
from sail_features.spark.session import build_session

DEFAULTS: Final[Mapping[str, str]] = {
    "spark.master": "local[*]",
    # Rows of any number are joined: the engine chooses how many tasks they take.
    "spark.sql.shuffle.partitions": "200",
    "spark.sql.adaptive.coalescePartitions.enabled": "true",
    # A result is fetched because somebody asked for it in memory.
    "spark.driver.maxResultSize": "0",
}


def open_session(conf: Mapping[str, str] | None = None) -> SparkSession:
    """Return the session that runs, or start one.

    Parameters
    ----------
    conf : settings of a session that is started; they win over ours.
    """
    running = SparkSession.getActiveSession()
    if running is not None:
        return running
    if SparkContext._active_spark_context is not None:
        return SparkSession.builder.getOrCreate()
    settings = {**DEFAULTS, **(conf or {})}
    return build_session(SparkConfig(master=settings["spark.master"], conf=settings), "feast")


@contextmanager
def session_with(
    conf: Mapping[str, str], *, start_with: Mapping[str, str]
) -> Iterator[SparkSession]:
    """Give the session with ``conf`` in force, and put back afterwards what it changed.

    Parameters
    ----------
    start_with : further settings of a session that is started.

    Raises
    ------
    ConfigError
        The session was started with another value of a setting that can't change any more.
    """
    spark = open_session({**start_with, **conf})
    before: dict[str, str | None] = {}
    try:
        for key, value in conf.items():
            old = spark.conf.get(key, None)
            if old == value:
                continue
            _set(spark, key, value, old)
            before[key] = old
        yield spark
    finally:
        for key, old in before.items():
            spark.conf.unset(key) if old is None else spark.conf.set(key, old)


def _set(spark: SparkSession, key: str, value: str, old: str | None) -> None:
    try:
        spark.conf.set(key, value)
    except AnalysisException as error:
        raise ConfigError.say(
            f"spark_conf {key}",
            f"is {value!r}, but Spark runs with {old!r}, and it can't change any more",
            hint="start Spark with it: put it into offline_store.spark_conf too, "
            "or materialize in a process of its own",
        ) from error
