"""Tells how far the Spark job of a block is, second by second."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from uuid import uuid4

from pyspark import SparkContext
from pyspark.sql import SparkSession

POLL_S: Final = 1.0


@contextmanager
def watched_job(
    spark: SparkSession, description: str, tasks: int, tell: Callable[[float], None]
) -> Iterator[None]:
    """Name the jobs of a block in Spark's UI, and tell the share of its tasks that ended.

    Parameters
    ----------
    description : what the UI shows for the job.
    tasks : number of tasks of the stage that counts; the last one of that many.
    tell : called every second, from a thread, with a share in [0, 1].
    """
    context = spark.sparkContext
    group = f"sail-features-{uuid4()}"
    done = threading.Event()

    def poll() -> None:
        while not done.wait(POLL_S):
            tell(_share_done(context, group, tasks))

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


def _share_done(context: SparkContext, group: str, tasks: int) -> float:
    tracker = context.statusTracker()
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    stages = sorted({stage for job in jobs if job is not None for stage in job.stageIds})
    infos = [tracker.getStageInfo(stage) for stage in reversed(stages)]
    for info in infos:
        if info is not None and info.numTasks == tasks:
            return float(info.numCompletedTasks / tasks)
    return 0.0
