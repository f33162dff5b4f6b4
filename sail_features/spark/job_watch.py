"""Tells how far the Spark job of a block is, second by second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final
from uuid import uuid4

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.sql import SparkSession

POLL_S: Final = 1.0


@contextmanager
def watched_job(
    spark: SparkSession, description: str, tell: Callable[[float], None]
) -> Iterator[None]:
    """Name the jobs of a block in Spark's UI, and tell how far the stage behind its shuffle is.

    Parameters
    ----------
    description : what the UI shows for the job.
    tell : called every second, from a thread, with the share of that stage's tasks that
        ended, in [0, 1]; 0 until it begins.
    """
    context = spark.sparkContext
    group = f"sail-features-{uuid4()}"
    done = threading.Event()

    def poll() -> None:
        # That Java is gone is for the block to say.
        with suppress(Py4JError, ConnectionError):
            while not done.wait(POLL_S):
                tell(_share_done(context, group))

    thread = threading.Thread(target=poll, daemon=True)
    context.setJobGroup(group, description)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        context.setLocalProperty("spark.jobGroup.id", "")
        context.setLocalProperty("spark.job.description", "")


def _share_done(context: SparkContext, group: str) -> float:
    tracker = context.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in sorted(tracker.getJobIdsForGroup(group))]
    # Adaptive execution runs the stage before a shuffle as a job of its own, of one stage.
    behind = [max(job.stageIds) for job in jobs if job is not None and len(job.stageIds) > 1]
    stage = tracker.getStageInfo(behind[-1]) if behind else None
    return float(stage.numCompletedTasks / stage.numTasks) if stage is not None else 0.0
