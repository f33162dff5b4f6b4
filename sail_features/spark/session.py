"""One Spark session with the settings that our results rest on, each with its reason."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

from sail_features.config import SparkConfig
from sail_features.spark.gpu import gpu_requests, gpu_settings
from sail_features.spark.gpu_check import check_gpu_settings
from sail_features.spark.java import ensure_java

ALWAYS: Final[Mapping[str, str]] = {
    # Times are UTC everywhere; a session in another zone would shift them on read.
    "spark.sql.session.timeZone": "UTC",
    # Microseconds as standard Parquet, which pyarrow and DuckDB read alike.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.compression.codec": "zstd",
    # Merging small shuffle partitions by size would make file layout depend on timing.
    "spark.sql.adaptive.coalescePartitions.enabled": "false",
    # A second copy of a task would encode twice.
    "spark.speculation": "false",
    # Workers keep their loaded model between tasks.
    "spark.python.worker.reuse": "true",
    # A task is one core: libraries that start a thread a core would fight each other.
    "spark.executorEnv.OMP_NUM_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.MKL_NUM_THREADS": "1",
    "spark.executorEnv.TOKENIZERS_PARALLELISM": "false",
    # Workers must not go to the network for a model that is on disk.
    "spark.executorEnv.HF_HUB_OFFLINE": "1",
    # Column tables of unclear type would become pickled objects; Arrow or an error.
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}

LOG_SETTINGS: Final = Path(__file__).parent / "log4j2.properties"
ON_THIS_MACHINE: Final[Mapping[str, str]] = {
    # Errors only: start-up warnings of a laptop's Spark say nothing about the run.
    "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile=file://{LOG_SETTINGS}",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


def build_session(config: SparkConfig, name: str) -> SparkSession:
    """Start Spark, or return the session that runs already.

    Under ``spark-submit`` the master and the driver's memory are the submitter's;
    otherwise they come from ``sail.yaml``. ``config.conf`` wins over our settings.

    Raises
    ------
    ConfigError
        GPUs are asked for in a way that would leave the job waiting for ever.
    """
    ensure_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    submitted = _submitted_settings()
    master = submitted.get("spark.master", config.master)
    known = config.model_copy(update={"conf": {**submitted, **config.conf}})
    settings: dict[str, str] = dict(ALWAYS)
    settings["spark.sql.shuffle.partitions"] = str(config.buckets)
    if not submitted:
        settings["spark.master"] = config.master
        settings["spark.driver.memory"] = config.driver_memory
        if config.master.startswith("local"):
            os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
            settings.update(ON_THIS_MACHINE)
    settings.update(gpu_settings(known, master))
    settings.update(config.conf)
    check_gpu_settings({**gpu_requests(known, master), **submitted, **settings}, master)
    builder = SparkSession.builder.appName(name)
    for key, value in settings.items():
        builder = builder.config(key, value)
    session: SparkSession = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def _submitted_settings() -> dict[str, str]:
    """Return what ``spark-submit`` was given; nothing where it didn't start this process."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return {}
    # Any property: the call connects to the JVM that waits for this process.
    SparkContext.getSystemProperty("spark.master")
    return dict(SparkConf().getAll())
