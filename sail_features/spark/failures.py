"""Turns what Spark raises into one error that says what happened and what to do.

A lost process is nobody's fault: the command exits with 75, which schedulers take for
"try again", and the next run finds all that was done. An error of ours that a task
raised is shown as it is, without the two stack traces that it travelled in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from py4j.protocol import Py4JError, Py4JJavaError, Py4JNetworkError
from pyspark.errors import PySparkException

from sail_features.errors import JobError, TransientError

LOST: Final = (
    "Python worker exited unexpectedly",
    "ExecutorLostFailure",
    "Could not recover from a failed barrier stage",
    "SparkContext has been shut down",
    "SparkContext was shut down",
    "Answer from Java side is empty",
    "Connection refused",
)
OURS: Final = re.compile(r"^sail_features\.errors\.(\w+): (.+(?:\nHint: .+)?)", re.MULTILINE)
CAUSE: Final = re.compile(r"^Caused by: (.+)$", re.MULTILINE)


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Raise Spark's errors as ours.

    Raises
    ------
    TransientError
        A worker, an executor or Java is gone.
    JobError
        A task failed, or Spark refused the job.
    """
    try:
        yield
    except (Py4JNetworkError, ConnectionError) as error:
        raise TransientError.process_lost(name, "Spark's Java process is gone") from error
    except (Py4JJavaError, Py4JError, PySparkException) as error:
        raise explain(name, str(error)) from error


def explain(name: str, text: str) -> JobError | TransientError:
    r"""Return the error that a message of Spark stands for.

    Examples
    --------
    >>> type(explain("encode", "... ExecutorLostFailure (executor 1 exited ...")).__name__
    'TransientError'
    >>> text = "Traceback ...\nsail_features.errors.ModelError: no weights\nHint: give some"
    >>> print(explain("encode", text))
    encode: a task failed: ModelError: no weights
    Hint: give some
    """
    ours = OURS.search(text)
    if ours:
        problem, _, hint = ours[2].partition("\nHint: ")
        return JobError.task_failed(name, f"{ours[1]}: {problem}", hint)
    lost = next((sign for sign in LOST if sign in text), None)
    if lost:
        return TransientError.process_lost(name, lost)
    causes = CAUSE.findall(text)
    first = next((line for line in text.splitlines() if line.strip()), "no message")
    return JobError.task_failed(name, (causes[-1] if causes else first).strip()[:500], "")
