"""Every error that a user of this package can meet, in one tree.

A message says where, what was wrong, what was found and what was expected, and
ends with a hint for the next step. It is built in a class method that takes
facts, and reaches ``Exception`` as one finished string, so that it survives
pickling between Spark processes.

``exit_code`` is what the command line returns: 1 failed, 2 wrong configuration
or input (nothing long was started), 75 failed for a passing reason: try again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, Self

from pydantic_core import ValidationError

MAX_IDS_SHOWN = 5


def show(values: Iterable[object]) -> str:
    """Return the first few values for a message, and how many more there are.

    Examples
    --------
    >>> show([1, 2])
    '1, 2'
    >>> show(range(9))
    '0, 1, 2, 3, 4 and 4 more'
    """
    listed = list(values)
    shown = ", ".join(str(value) for value in listed[:MAX_IDS_SHOWN])
    more = len(listed) - MAX_IDS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def tell(reason: object) -> str:
    """Return what is wrong, in words; of settings that fail validation, a line for each.

    Examples
    --------
    >>> tell("no such file")
    'no such file'
    """
    if not isinstance(reason, ValidationError):
        return str(reason)
    return "".join(f"\n  {where or 'as a whole'}: {what}" for where, what in _problems(reason))


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Yield each setting that is wrong, and what is; those of a validator's own checks, too."""
    for problem in error.errors(include_url=False):
        where = ".".join(map(str, problem["loc"]))
        what, got = problem["msg"].removeprefix("Value error, "), problem["input"]
        inner = problem.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            yield from ((f"{where}.{deeper}".strip("."), why) for deeper, why in _problems(inner))
            continue
        if problem["type"] == "extra_forbidden":
            what = "no such setting"
        elif problem["type"] == "union_tag_not_found":
            what = f"lacks {problem['ctx']['discriminator']}"
        elif isinstance(got, str | int | float):
            what = f"{what}, got {got!r}"
        yield where, what


class SailError(Exception):
    """Root of all errors raised on purpose by this package."""

    exit_code: ClassVar[int] = 1

    @classmethod
    def say(cls, where: str, problem: str, *, hint: str) -> Self:
        """Build the error from where it happened, what is wrong and what to do."""
        return cls(f"{where}: {problem}\nHint: {hint}")


class ConfigError(SailError, ValueError):
    """A configuration file or a command-line option can't be used."""

    exit_code = 2

    @classmethod
    def file_missing(cls, path: object) -> Self:
        """Build the error for a configuration file that isn't there."""
        return cls.say(
            str(path), "no such file", hint="give --config PATH, or copy sail.yaml from the README"
        )

    @classmethod
    def unreadable(cls, path: object, reason: object) -> Self:
        """Build the error for a file that isn't valid YAML or fails validation."""
        told = tell(reason)
        gap = "" if told.startswith("\n") else " "
        return cls.say(str(path), f"can't be read:{gap}{told}", hint="correct it and run again")

    @classmethod
    def unknown_choice(cls, where: str, got: object, choices: Sequence[object]) -> Self:
        """Build the error for a name that is none of the known ones."""
        return cls.say(where, f"unknown {got!r}", hint=f"choose one of {show(choices)}")

    @classmethod
    def names_nothing(cls, where: str, existing: str) -> Self:
        """Build the error for a mapping that names no column."""
        return cls.say(
            where,
            f"names no column; {existing}",
            hint="say which column holds what, for example `items: {item_id: sku, text: [name]}`",
        )

    @classmethod
    def unknown_dataset(cls, source: object, formats: Sequence[str], found: Sequence[str]) -> Self:
        """Build the error for a folder that holds none of the known formats."""
        return cls.say(
            str(source),
            f"none of the known formats ({', '.join(formats)}); "
            f"it holds {show(found) or 'no files'}",
            hint="give the folder that holds the set's own files, or import it with a mapping.yaml",
        )

    @classmethod
    def gpu_in_local_mode(cls, key: str, master: str) -> Self:
        """Build the error for a GPU amount where Spark has no executors to own one."""
        return cls.say(
            key,
            f"under {master!r} Spark offers no GPU; the tasks would wait for one for ever",
            hint="leave it out to run on the CPU, or start one worker on this machine with the "
            "master `local-cluster[1,CORES,MEMORY_MB]`, as in jobs/conf/local_gpu.yaml",
        )

    @classmethod
    def gpu_amount_invalid(cls, key: str, got: object, expected: str) -> Self:
        """Build the error for a GPU amount that Spark can't schedule by."""
        return cls.say(
            key,
            f"is {got!r}, expected {expected}; Spark would fail at start or offer nothing",
            hint="give whole devices to executors and workers, and to a task 1 or a share like 0.5",
        )

    @classmethod
    def gpu_more_than_owned(
        cls, key: str, asked: object, owner: str, owned: object, consequence: str
    ) -> Self:
        """Build the error for a request that nothing in the cluster is large enough for."""
        return cls.say(
            key,
            f"asks for {asked}, but {owner} has {owned}: {consequence}",
            hint=f"lower {key}, or give {owner} more",
        )

    @classmethod
    def gpu_setting_missing(cls, key: str, asked_by: str, consequence: str, example: str) -> Self:
        """Build the error for a setting that another one can't work without."""
        return cls.say(
            key,
            f"is not set, but {asked_by} asks for GPUs: {consequence}",
            hint=f"set it, for example to {example}; jobs/conf/ has complete settings",
        )

    @classmethod
    def gpu_script_unusable(cls, script: object, problem: object) -> Self:
        """Build the error for a discovery script from which Spark would learn nothing."""
        return cls.say(
            f"GPU discovery script {script}",
            f"{problem}; nothing that needs a GPU could start, and Spark wouldn't say why",
            hint="give the absolute path of an executable file that prints "
            '{"name": "gpu", "addresses": ["0", "1"]}, such as jobs/conf/discover_gpus.sh',
        )

    @classmethod
    def gpu_shared_by_workers(cls, master: str, workers: int) -> Self:
        """Build the error for several workers that would each own the same devices."""
        return cls.say(
            master,
            f"its {workers} workers run on this machine and would each offer the same GPUs, "
            "so that executors share a device without knowing",
            hint="start one worker of several executors: local-cluster[1,CORES,MEMORY_MB] with "
            "spark.executor.cores below CORES",
        )

    @classmethod
    def gpu_left_idle(cls, key: str, owned: int, used: int, tasks: int) -> Self:
        """Build the error for executors that can't run tasks enough to use their GPUs."""
        return cls.say(
            key,
            f"an executor would own {owned} GPUs, and its {tasks} tasks at a time use {used}",
            hint=f"set {key} to {used} and start more executors, or give an executor more cores",
        )

    @classmethod
    def gpu_profile_unsupported(cls, master: str, reason: str) -> Self:
        """Build the error for stage-level scheduling that this session can't do."""
        return cls.say(
            f"spark.gpu.stage_level under {master}",
            f"{reason}; Spark would refuse the encode stage",
            hint="set spark.gpu before the session starts, on a cluster; without dynamic "
            "allocation all executors must own GPUs (spark.executor.resource.gpu.amount)",
        )

    @classmethod
    def gpu_not_visible(cls, address: str, visible: str) -> Self:
        """Build the error for a task whose device its Python worker can't reach."""
        return cls.say(
            f"GPU {address!r}",
            f"Spark offered it to a task whose Python worker sees only {visible!r}, by its "
            "environment or since an earlier task, and CUDA can't change that once started",
            hint="give each executor one GPU (spark.executor.resource.gpu.amount 1), and let the "
            "discovery script print addresses that CUDA_VISIBLE_DEVICES lists",
        )


class InputError(SailError, ValueError):
    """The user's data breaks a table's contract."""

    exit_code = 2

    @classmethod
    def file_unreadable(
        cls, path: object, reason: object, kinds: str = "Parquet, CSV or JSON-lines"
    ) -> Self:
        """Build the error for a data file that can't be opened or parsed."""
        return cls.say(
            str(path),
            f"can't be read: {reason}",
            hint=f"give a {kinds} file (or a folder of one kind)",
        )

    @classmethod
    def missing_column(cls, where: str, column: str, existing: Sequence[str]) -> Self:
        """Build the error for a column that isn't there, naming those that are."""
        return cls.say(
            where,
            f"no column {column!r}; it has {', '.join(existing) or 'no columns'}",
            hint=f"add {column!r}, or name the column that holds it in mapping.yaml",
        )

    @classmethod
    def not_encoded(cls, encoder_id: str) -> Self:
        """Build the error for a table of vectors that has none of an encoder."""
        return cls.say(
            "item_embedding",
            f"holds no vector of encoder {encoder_id!r}",
            hint="run `sail-features encode` with this configuration",
        )

    @classmethod
    def columns_not_there(cls, where: str, named: Sequence[str], existing: Sequence[str]) -> Self:
        """Build the error for a mapping's columns that aren't there, naming those that are."""
        return cls.say(
            where,
            f"no column {', '.join(map(repr, named))}; it has "
            f"{', '.join(existing) or 'no columns'}",
            hint="name the columns that hold them in mapping.yaml",
        )

    @classmethod
    def wrong_type(cls, where: str, column: str, got: object, expected: str) -> Self:
        """Build the error for a column of the wrong type."""
        return cls.say(
            where,
            f"column {column!r} is {got}, expected {expected}",
            hint=f"convert {column!r} before importing it",
        )

    @classmethod
    def empty(cls, where: str) -> Self:
        """Build the error for a table without rows."""
        return cls.say(where, "the table has no rows", hint="check the path and the filters")

    @classmethod
    def duplicate_keys(cls, where: str, key: Sequence[str], examples: Sequence[object]) -> Self:
        """Build the error for rows that share a key which must be unique."""
        return cls.say(
            where,
            f"{len(examples)} keys ({', '.join(key)}) occur more than once: {show(examples)}",
            hint="keep one row a key",
        )

    @classmethod
    def no_zone(cls, where: str, column: str) -> Self:
        """Build the error for timestamps without a time zone."""
        return cls.say(
            where,
            f"column {column!r} has timestamps without a time zone",
            hint="set `timezone:` in mapping.yaml, for example `timezone: Europe/London`",
        )

    @classmethod
    def no_unit(cls, where: str, column: str) -> Self:
        """Build the error for times that are numbers of an unknown unit."""
        return cls.say(
            where,
            f"column {column!r} has numbers, expected times or a unit for the numbers",
            hint="set `time_unit:` in mapping.yaml to s, ms or us",
        )

    @classmethod
    def wrong_unit(cls, where: str, column: str, number: object, unit: str) -> Self:
        """Build the error for numbers that are no date in their unit."""
        return cls.say(
            where,
            f"column {column!r} has {number}, which lies beyond the year 9999 if it counts {unit}",
            hint="set `time_unit:` in mapping.yaml to the unit of these numbers: s, ms or us",
        )

    @classmethod
    def time_unreadable(cls, where: str, column: str, reason: object) -> Self:
        """Build the error for text that isn't understood as a time."""
        return cls.say(
            where,
            f"column {column!r} can't be read as times: {reason}",
            hint="write ISO 8601, with a zone in every row or in none, or set `time_format:` "
            "in mapping.yaml, for example '%d/%m/%Y %H:%M'",
        )

    @classmethod
    def in_future(cls, where: str, column: str, count: int, latest: object, limit: object) -> Self:
        """Build the error for timestamps later than the moment of import."""
        return cls.say(
            where,
            f"{count} rows of {column!r} lie after {limit}; the latest is {latest}",
            hint="check the unit (seconds or milliseconds) and the time zone",
        )

    @classmethod
    def not_finite(cls, where: str, ids: Sequence[object]) -> Self:
        """Build the error for vectors with NaN, infinite or all-zero values."""
        return cls.say(
            where,
            f"{len(ids)} vectors are not finite or have no length: items {show(ids)}",
            hint="leave these items out: a missing vector is an absent row, never zeros",
        )

    @classmethod
    def ids_differ(
        cls, path: object, column: str, got: object, other: object, expected: object
    ) -> Self:
        """Build the error for ids of one type in one file and of another in the next."""
        return cls.say(
            str(path),
            f"column {column!r} is {got}, but {expected} in {other}",
            hint="write ids the same way in all files: CSV ids are strings, so quote them in "
            "JSON, or make all files Parquet",
        )

    @classmethod
    def one_class(cls, where: str, label: object) -> Self:
        """Build the error for labels that are all the same."""
        return cls.say(
            where,
            f"every label is {label}",
            hint="log impressions that were not clicked, or import with --negatives 3",
        )

    @classmethod
    def no_positives(cls, where: str) -> Self:
        """Build the error for a log of which nothing can become a positive."""
        return cls.say(
            where,
            "no row is a sign of liking: impressions are made of events of weight above 0",
            hint="give such events a weight above 0 in mapping.yaml, or give --impressions",
        )

    @classmethod
    def labels_not_binary(cls, where: str, labels: Sequence[object]) -> Self:
        """Build the error for labels other than 0 and 1."""
        return cls.say(
            where,
            f"labels are {show(labels)}, expected 0 and 1",
            hint="make a column that is 1 where the user responded and 0 where not",
        )

    @classmethod
    def unknown_items(cls, where: str, ids: Sequence[object]) -> Self:
        """Build the error for rows of items that the catalogue lacks."""
        return cls.say(
            where,
            f"{len(ids)} items are not in the catalogue: {show(ids)}",
            hint="import through `build_dataset`, which drops such rows and counts them",
        )

    @classmethod
    def all_dropped(cls, where: str, reason: str, count: int) -> Self:
        """Build the error for a table of which a policy left no row."""
        return cls.say(
            where,
            f"no row is left: {reason} dropped the last {count}",
            hint="check that the ids of all tables are written alike and that times are filled",
        )

    @classmethod
    def weights_missing(cls, where: str, event_types: Sequence[object]) -> Self:
        """Build the error for event types that the mapping gives no weight."""
        return cls.say(
            where,
            f"no weight for event types {show(event_types)}",
            hint="add them to `weights:` in mapping.yaml; 0 means seen without a verdict",
        )

    @classmethod
    def manifest_unreadable(cls, path: object, reason: object) -> Self:
        """Build the error for a manifest of another version, or a damaged one."""
        return cls.say(
            str(path),
            f"can't be read: {reason}",
            hint="upgrade sail-features if a newer one wrote it, else run the table's job again",
        )


class MissingTableError(SailError, FileNotFoundError):
    """A job needs a table that nobody has written yet."""

    exit_code = 2

    @classmethod
    def not_written(cls, table: str, path: object, made_by: str) -> Self:
        """Build the error for an input table without a complete partition."""
        return cls.say(
            str(path),
            f"table {table!r} has no complete partition",
            hint=f"run `sail-features {made_by}` first",
        )

    @classmethod
    def no_link(cls, table: str, as_of: object, since: object, ends: object) -> Self:
        """Build the error for a partition that begins where no other ends."""
        return cls.say(
            f"table {table!r}",
            f"no partition covers what lies before {as_of}: that one begins at {since}, the one "
            f"before it ends at {ends}",
            hint=f"run the job for {as_of} again with --since {ends}",
        )

    @classmethod
    def too_early(cls, table: str, as_of: object, earliest: object) -> Self:
        """Build the error for a time before a table's first partition."""
        return cls.say(
            f"table {table!r}",
            f"holds nothing as of {as_of}; its first partition is as of {earliest}",
            hint="give a later --as-of, or import with an earlier one",
        )


class ModelError(SailError, ValueError):
    """An encoder's weights can't be found or used."""

    exit_code = 2

    @classmethod
    def not_found(cls, model: str, reason: object) -> Self:
        """Build the error for a model id or folder that can't be loaded."""
        return cls.say(
            f"model {model!r}",
            f"can't be loaded: {reason}",
            hint="give a folder with config.json and *.safetensors, or a Hugging Face id "
            "that is in the local cache",
        )


class TrainingError(SailError, RuntimeError):
    """A training run can't go on."""

    @classmethod
    def not_finite(
        cls, step: int, objective: str, losses: Mapping[str, float], folder: object
    ) -> Self:
        """Build the error for a loss or a gradient that is NaN or infinite."""
        found = ", ".join(f"{name} {value:g}" for name, value in losses.items())
        return cls.say(
            f"step {step}, data set {objective!r}",
            f"the loss or its gradient isn't finite ({found}); batch and weights are in {folder}",
            hint="lower learning_rate or clip_norm, or use float32, and run again from the "
            "last checkpoint in a folder of its own",
        )


class QuarantineError(SailError, RuntimeError):
    """More rows were quarantined than the run allows; only they were published."""

    @classmethod
    def too_many(cls, where: str, count: int, total: int, limit: float, reasons: object) -> Self:
        """Build the error for a run with too large a share of bad rows."""
        return cls.say(
            where,
            f"{count} of {total} rows quarantined, more than the allowed {limit:.0%}: {reasons}",
            hint="look at the quarantine table, mend the input, or raise max_quarantine_share",
        )


class JobError(SailError, RuntimeError):
    """A Spark job failed in a way that running it again won't change."""

    @classmethod
    def task_failed(cls, name: str, problem: str, hint: str) -> Self:
        """Build the error for what a task or Spark itself raised."""
        return cls.say(
            name,
            f"a task failed: {problem}",
            hint=hint or "what was published is as it was; the full trace is in Spark's log",
        )


class TransientError(SailError, RuntimeError):
    """A process was lost; nothing is wrong with the data or the settings."""

    exit_code = 75

    @classmethod
    def process_lost(cls, name: str, what: str) -> Self:
        """Build the error for a worker, an executor or a Java process that is gone."""
        return cls.say(
            name,
            f"{what} (killed, or out of memory)",
            hint="run the same command again: what was published is as it was, and what "
            "was encoded is kept",
        )


class LeakageError(SailError, ValueError):
    """A feature could not have been known at its impression's time."""

    @classmethod
    def feature_from_future(cls, where: str, count: int, examples: Sequence[object]) -> Self:
        """Build the error for features made of events at or after the impression."""
        return cls.say(
            where,
            f"{count} rows use events at or after their impression: {show(examples)}",
            hint="cut the history strictly before the impression (history.lag_s) and join again",
        )

    @classmethod
    def not_yet_available(cls, where: str, count: int, examples: Sequence[object]) -> Self:
        """Build the error for rows that were first known after the impression."""
        return cls.say(
            where,
            f"{count} rows became available after their impression: {show(examples)}",
            hint="join with filter_by_created_timestamp=True, or re-encode with an older encoder",
        )

    @classmethod
    def trained_too_late(cls, artefact: str, trained_until: object, first_row: object) -> Self:
        """Build the error for an artefact fitted on the ranker's own training period."""
        return cls.say(
            artefact,
            f"was trained on interactions until {trained_until}, after the ranker's first "
            f"training row at {first_row}",
            hint="train the artefact on earlier data, or start the ranker's training later",
        )


class EvaluationError(SailError, ValueError):
    """Arms can't be compared, or a metric isn't defined on these rows."""

    @classmethod
    def rows_differ(cls, arm: str, reference: str, examples: Sequence[object]) -> Self:
        """Build the error for arms that were joined to different rows."""
        return cls.say(
            f"arm {arm!r}",
            f"its rows differ from those of arm {reference!r}: {show(examples)}",
            hint="join every arm to the same impressions, in the same order",
        )

    @classmethod
    def one_class(cls, where: str, label: object, rows: int) -> Self:
        """Build the error for a split that holds one class only."""
        return cls.say(
            where,
            f"all {rows} rows have label {label}",
            hint="move the split times so that every part has both labels",
        )

    @classmethod
    def not_binary(cls, where: str, found: Sequence[object]) -> Self:
        """Build the error for labels other than 0 and 1."""
        return cls.say(
            where, f"labels must be 0 or 1, found {show(found)}", hint="map every label to 0 or 1"
        )

    @classmethod
    def bad_arrays(cls, where: str, problem: str) -> Self:
        """Build the error for arrays that a metric can't be computed from."""
        return cls.say(
            where, problem, hint="give one label, one score without NaN and one group a row"
        )

    @classmethod
    def undefined(cls, where: str, reason: str) -> Self:
        """Build the error for a metric, or its interval, that these rows can't give."""
        return cls.say(where, reason, hint="judge on more users, or on a longer test period")

    @classmethod
    def too_few_fits(cls, fits: int, fewest: int) -> Self:
        """Build the error for a calibration on too few fits to know their variance."""
        return cls.say(
            "calibration",
            f"{fits} fits, expected at least {fewest}",
            hint=f"give --fits {fewest} or more",
        )

    @classmethod
    def noise_unreadable(cls, path: object, reason: object) -> Self:
        """Build the error for a file of training noise that can't be read."""
        return cls.say(
            str(path),
            f"can't be read: {reason}",
            hint="remove it and run `sail-features eval calibrate` again",
        )

    @classmethod
    def no_verdict(cls, path: object, reason: object) -> Self:
        """Build the error for a summary that is missing or holds no verdict."""
        first = str(reason).splitlines()[0]
        return cls.say(
            str(path), f"no verdict: {first}", hint="run `sail-features eval` first, or --summary"
        )

    @classmethod
    def no_scores(cls, folder: object, reason: object) -> Self:
        """Build the error for a folder without an evaluation's test scores."""
        first = str(reason).splitlines()[0]
        return cls.say(
            str(folder), f"no test scores: {first}", hint="name a folder that eval wrote into"
        )

    @classmethod
    def runs_differ(cls, earlier: object, later: object, problem: str) -> Self:
        """Build the error for two runs that judged different rows."""
        return cls.say(
            f"{earlier} and {later}",
            problem,
            hint="compare runs on the same impressions, split and seeds",
        )

    @classmethod
    def unknown_slice(cls, name: str, derived: Sequence[str]) -> Self:
        """Build the error for a slice that is neither derived nor a column."""
        return cls.say(
            "eval.slices",
            f"no column {name!r}",
            hint=f"name a column of the rows, or one of {', '.join(derived)}",
        )

    @classmethod
    def bad_cluster(cls, column: str, problem: str) -> Self:
        """Build the error for a column that can't say which rows belong together."""
        return cls.say(
            f"eval.cluster_by: {column}",
            problem,
            hint="name a column of ids without nulls, such as user_id or request_id",
        )

    @classmethod
    def empty_part(cls, part: str, begin: object, end: object) -> Self:
        """Build the error for a part of the time split without rows."""
        return cls.say(
            f"{part} part",
            f"no row lies from {begin} to before {end}",
            hint="shorten eval.gap_s, change the shares, or give rows of a longer time",
        )

    @classmethod
    def bad_arms(cls, where: str, problem: str) -> Self:
        """Build the error for an experiment whose arms can't be compared."""
        return cls.say(where, problem, hint="correct the arms of the experiment")

    @classmethod
    def not_reproduced(cls, subset: str) -> Self:
        """Build the error for control's own columns that gave other scores."""
        return cls.say(
            f"subset {subset!r}",
            "has control's columns and other scores",
            hint="take eval.params away that make fits differ, such as deterministic: false",
        )

    @classmethod
    def missing_columns(cls, arm: str, missing: Sequence[str], existing: Sequence[str]) -> Self:
        """Build the error for an arm's columns that the frame doesn't have."""
        return cls.say(
            f"arm {arm!r}",
            f"{len(missing)} columns are not in the frame: {show(missing)}; "
            f"it has {', '.join(existing)}",
            hint="join the arm's features, or correct its columns",
        )

    @classmethod
    def wrong_column(cls, column: str, got: object, expected: str) -> Self:
        """Build the error for a column whose type the judge can't use."""
        return cls.say(
            f"column {column!r}",
            f"is {got}, expected {expected}",
            hint="convert the column, or leave it out of the arms",
        )

    @classmethod
    def rows_lost(cls, expected: int, got: int) -> Self:
        """Build the error for a join that dropped or repeated rows."""
        return cls.say(
            "feature join",
            f"{expected} impressions went in and {got} rows came out",
            hint="use an offline store that keeps every entity row, such as DuckDB",
        )
