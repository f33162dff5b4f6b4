"""What Spark raises becomes one error of ours, and a lost Java breaks no thread."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark.errors import PySparkException

from sail_features.errors import InputError, JobError, ModelError, TransientError
from sail_features.spark import job_watch
from sail_features.spark.failures import LOST, explain, explained

STAGE = """An error occurred while calling o147.parquet.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 1 in stage 9.0 failed
	at org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:3)
{cause}
"""
PYTHON = """Caused by: org.apache.spark.api.python.PythonException: Traceback (latest last):
  File "/opt/sail_features/spark/encode_task.py", line 81, in encode_batches
    yield from encode_windows(batches, worker.pipeline)
{error}

	at org.apache.spark.api.python.BasePythonRunner$ReaderIterator.handle(PythonRunner.scala:5)
"""


def of_python(error):
    return STAGE.format(cause=PYTHON.format(error=error))


def of_ours(error):
    """Return an error of ours as Python prints it at the end of a traceback."""
    return f"{type(error).__module__}.{type(error).__qualname__}: {error}"


@pytest.mark.parametrize("sign", LOST)
def test_a_lost_process_can_be_tried_again(sign):
    error = explain("encode", STAGE.format(cause=f"... {sign} ..."))
    assert isinstance(error, TransientError)
    assert error.exit_code == 75
    assert str(error).startswith(f"encode: {sign} (killed, or out of memory)\nHint: run the same")


@pytest.mark.parametrize(
    "ours",
    [
        ModelError.not_found("bert", "no safetensors"),
        InputError.no_zone("items", "since"),
    ],
)
def test_an_error_of_ours_is_shown_whole_and_alone(ours):
    error = explain("encode", of_python(of_ours(ours)))
    problem, hint = str(ours).split("\nHint: ")
    assert isinstance(error, JobError)
    assert str(error) == f"encode: a task failed: {type(ours).__name__}: {problem}\nHint: {hint}"


def test_an_error_of_ours_outweighs_the_process_that_it_took_along():
    text = of_python(of_ours(ModelError.not_found("bert", "gone"))) + "ExecutorLostFailure"
    assert isinstance(explain("encode", text), JobError)


def test_another_error_is_told_by_its_last_cause():
    text = STAGE.format(cause="Caused by: java.io.IOException: write\nCaused by: x.Y: disk full")
    error = explain("encode", text)
    assert isinstance(error, JobError)
    assert str(error).startswith("encode: a task failed: x.Y: disk full\nHint: what was published")


@pytest.mark.parametrize("text", ["", "\n \n", "x" * 10_000])
def test_message_is_never_empty_nor_endless(text):
    problem = str(explain("encode", text)).split("\nHint: ")[0]
    assert len("encode: a task failed: ") < len(problem) < 600


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (Py4JNetworkError("Answer from Java side is empty"), TransientError),
        (ConnectionRefusedError(111, "Connection refused"), TransientError),
        (ConnectionResetError(), TransientError),
        (
            Py4JError("An error occurred while calling o1.x: SparkContext was shut down"),
            TransientError,
        ),
        (Py4JError("An error occurred while calling o1.x"), JobError),
        (PySparkException("no such column"), JobError),
    ],
)
def test_what_spark_raises_is_ours_and_keeps_its_cause(raised, kind):
    with pytest.raises(kind) as caught, explained("encode"):
        raise raised
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("error", [KeyError("x"), ModelError.not_found("bert", "gone")])
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, explained("encode"):
        raise error
    assert caught.value is error


def session(tracker):
    """Return a session that knows only what is told of its jobs."""
    context = SimpleNamespace(
        statusTracker=lambda: tracker,
        setJobGroup=lambda *_: None,
        setLocalProperty=lambda *_: None,
    )
    return SimpleNamespace(sparkContext=context)


def tracker_of(jobs, stages):
    return SimpleNamespace(
        getJobIdsForGroup=lambda _: list(jobs),
        getJobInfo=lambda job: SimpleNamespace(stageIds=jobs[job]),
        getStageInfo=lambda stage: SimpleNamespace(
            numTasks=stages[stage][1], numCompletedTasks=stages[stage][0]
        ),
    )


@pytest.mark.parametrize(
    ("jobs", "stages", "share"),
    [
        ({}, {}, 0),
        ({7: [1]}, {1: (4, 4)}, 0),  # the stage before the shuffle, done, as large as the next
        ({7: [1], 8: [2, 3]}, {1: (4, 4), 2: (0, 4), 3: (1, 4)}, 0.25),
        ({8: [3, 2], 7: [1]}, {1: (4, 4), 2: (0, 4), 3: (4, 4)}, 1),
        ({7: [0, 1]}, {0: (2, 2), 1: (3, 4)}, 0.75),  # without adaptive execution
    ],
)
def test_progress_is_that_of_the_stage_behind_the_shuffle(monkeypatch, jobs, stages, share):
    monkeypatch.setattr(job_watch, "POLL_S", 0.001)
    told: list[float] = []
    with job_watch.watched_job(session(tracker_of(jobs, stages)), "encode", told.append):
        until = time.monotonic() + 10
        while not told and time.monotonic() < until:
            time.sleep(0.001)
    assert set(told) == {share}


def test_watching_ends_quietly_where_java_is_gone(monkeypatch):
    """An error in the thread would be printed beside the job's own, and fail this test."""
    monkeypatch.setattr(job_watch, "POLL_S", 0.001)
    asked: list[str] = []

    def ask(group):
        asked.append(group)
        raise Py4JNetworkError("Answer from Java side is empty")

    tracker = SimpleNamespace(getJobIdsForGroup=ask)
    with job_watch.watched_job(session(tracker), "encode", lambda _: None):
        time.sleep(0.1)
    assert len(asked) == 1
