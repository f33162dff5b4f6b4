"""kill -9 in the middle of a job: what was published stays, and a rerun mends the rest."""

from __future__ import annotations

import time

import faulty_encode
import psutil
import pyarrow.parquet as pq
import pytest
import worlds
from gpu_clusters import Standalone, environment, write_script
from worlds import CONFIG, at

from sail_features import columns as c
from sail_features.config import EncoderConfig
from sail_features.embeddings import unpack_vectors
from sail_features.spark.encode import run_encode
from sail_features.tables import TableStore

AS_OF = at(10)
BEFORE, AFTER = 50, 200
LIMIT_S = 400
"""The machine is shared; a run alone takes a tenth of it."""


def config_of(folder, master="local[2,4]", kind="hash", **conf):
    spark = {"master": master, "driver_memory": "1g", "conf": conf}
    section = EncoderConfig.model_validate({**CONFIG.encoder.model_dump(), "kind": kind})
    changes = {"encoder": section, "spark": CONFIG.spark.model_copy(update=spark)}
    return CONFIG.model_copy(update={**changes, "workspace": folder})


def put_items(store, word, count):
    made = worlds.items([(f"i{n}", at(1), f"{word} number{n}") for n in range(count)])
    worlds.publish(store, "items", made, as_of=AS_OF)


def rows_of(store):
    """Return the rows, but for when they were made; an item must not have two."""
    rows = store.read("item_embedding").drop([c.CREATED]).to_pylist()
    found = {row[c.ITEM_ID]: row for row in rows}
    assert len(found) == len(rows)
    return found


def bytes_of(store):
    folder = store.partition("item_embedding", AS_OF)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def committed(store):
    """Return how many contents the chunks hold that Spark finished."""
    done = [mark.parent for mark in store.root.glob("_unpublished/*/chunk-*/_SUCCESS")]
    files = [path for folder in done for path in folder.glob("*.parquet")]
    return sum(pq.read_metadata(path).num_rows for path in files)


@pytest.fixture
def store(tmp_path):
    """Return the empty tables of the job's workspace."""
    return TableStore(config_of(tmp_path).tables)


@pytest.fixture
def undisturbed(spark, tmp_path):
    """Return the rows of a run in one go, by one of two kinds of encoder."""

    def run(kind="hash"):
        store = TableStore(tmp_path / "undisturbed")
        put_items(store, "wine", AFTER)
        run_encode(spark, store, config_of(tmp_path, kind=kind), as_of=AS_OF)
        return rows_of(store)

    return run


def chunk_begun(number):
    return lambda store: any(store.root.glob(f"_unpublished/*/chunk-{number:06d}"))


def staged(table, pattern=""):
    return lambda store: any((store.root / table).glob(f"_staging-*{pattern}"))


def published(store):
    return [manifest.rows for manifest in store.manifests("item_embedding")] == [AFTER]


MOMENTS = {
    "describing": staged("item_embedding", "/_work/wanted"),
    "first chunk": chunk_begun(0),
    "later chunk": chunk_begun(1),
    "joining": staged("item_embedding_quarantine"),
    "writing": staged("item_embedding", "/_temporary"),
    "published": published,
}


def wait_for(moment, store, process):
    until = time.monotonic() + LIMIT_S
    while not moment(store):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)


def java_of(process, kind):
    """Return the Java processes below a job: its driver's, or its executors'."""
    below = psutil.Process(process.pid).children(recursive=True)
    java = [one for one in below if one.name() == "java"]
    executors = [one for one in java if any("ExecutorBackend" in part for part in one.cmdline())]
    return executors if kind == "executor" else [one for one in java if one not in executors]


def kill(process, victim):
    """Kill the job's Python, or its Java; return what it said when all its processes are gone."""
    children = psutil.Process(process.pid).children(recursive=True)
    if victim == "python":
        process.kill()
    else:
        java_of(process, "driver")[0].kill()
    said = process.communicate(timeout=120)[1]
    _, alive = psutil.wait_procs(children, timeout=60)
    for child in alive:
        child.kill()
    assert not alive, "processes of the job outlived it"
    return said


def finish(process):
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.mark.parametrize(
    ("moment", "victim"),
    [
        ("later chunk", "java"),
        *(
            pytest.param(moment, victim, marks=pytest.mark.slow)
            for moment, victim in [
                ("describing", "java"),
                ("describing", "python"),
                ("first chunk", "python"),
                ("later chunk", "python"),
                ("joining", "java"),
                ("writing", "java"),
                ("writing", "python"),
                ("published", "python"),
            ]
        ),
    ],
)
def test_killed_run_changes_nothing_and_the_next_encodes_only_the_rest(
    spark, store, tmp_path, undisturbed, moment, victim
):
    config = config_of(tmp_path)
    put_items(store, "tea", BEFORE)
    run_encode(spark, store, config, as_of=AS_OF)
    before = bytes_of(store)
    put_items(store, "wine", AFTER)

    process = faulty_encode.start(faulty_encode.write_settings(tmp_path, config), AS_OF.isoformat())
    wait_for(MOMENTS[moment], store, process)
    said = kill(process, victim)
    if victim == "java":
        assert process.returncode == 75
        assert said.count("TransientError: encode: ") == 1
        assert "run the same command again" in said
        assert "sail_features/spark/" not in said  # no traceback of ours
    wanted = undisturbed()
    if moment == "published":
        assert rows_of(store) == wanted
    else:
        assert bytes_of(store) == before

    kept = committed(store)
    assert (kept > 0) == (moment not in ("describing", "first chunk"))
    summary = run_encode(spark, store, config, as_of=AS_OF).lineage["summary"]
    assert summary["encoded"] == AFTER - kept
    assert summary["resumed"] + summary["reused"] == kept
    assert summary["resumed"] == kept or moment == "published"
    assert rows_of(store) == wanted
    assert not any(store.root.glob("_unpublished/*"))
    assert not staged("item_embedding")(store)


def check_run(store, wanted, tolerance=0.0):
    """Compare with an undisturbed run row by row, and count each content once."""
    found = rows_of(store)
    if tolerance:
        pairs = [(found[i].pop(c.EMBEDDING), wanted[i].pop(c.EMBEDDING)) for i in wanted]
        ours, theirs = (unpack_vectors(list(column), 384) for column in zip(*pairs, strict=True))
        assert (ours * theirs).sum(axis=1).min() > 1 - tolerance
    assert found == wanted
    summary = store.latest("item_embedding").lineage["summary"]
    assert (summary["encoded"], summary["resumed"]) == (AFTER, 0)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        pytest.param("killed worker", "hash", marks=pytest.mark.slow),
        pytest.param("error", "hash", marks=pytest.mark.slow),
        pytest.param("killed worker", "transformer_text", marks=pytest.mark.slow),
    ],
)
def test_task_that_breaks_off_is_tried_again_and_no_row_comes_twice(
    store, tmp_path, undisturbed, fault, kind
):
    put_items(store, "wine", AFTER)
    settings = faulty_encode.write_settings(tmp_path, config_of(tmp_path, kind=kind))
    finish(faulty_encode.start(settings, AS_OF.isoformat(), fault))
    check_run(store, undisturbed(kind), tolerance=0 if kind == "hash" else 1e-3)


@pytest.mark.slow
def test_error_of_ours_in_a_task_is_one_message(store, tmp_path):
    put_items(store, "wine", AFTER)
    settings = faulty_encode.write_settings(tmp_path, config_of(tmp_path, master="local[2]"))
    process = faulty_encode.start(settings, AS_OF.isoformat(), "no weights")
    said = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == 1
    last = said[said.rindex("JobError: ") :]
    assert last.startswith(
        "JobError: encode: a task failed: ModelError: model 'tiny': can't be loaded: its weights "
        "are gone\nHint: give a folder with config.json"
    )
    assert said.count("JobError") == 1
    assert "Traceback" not in last


@pytest.mark.slow
def test_killed_executor_is_replaced(store, home, tmp_path, undisturbed):
    conf = {"spark.executor.cores": "1", "spark.executor.memory": "1g"}
    config = config_of(tmp_path, master="local-cluster[2,1,1024]", **conf)
    put_items(store, "wine", AFTER)
    settings = faulty_encode.write_settings(tmp_path, config)
    process = faulty_encode.start(settings, AS_OF.isoformat(), SPARK_HOME=str(home))
    wait_for(MOMENTS["later chunk"], store, process)
    executors = java_of(process, "executor")
    assert len(executors) == 2
    executors[0].kill()
    finish(process)
    check_run(store, undisturbed())


@pytest.mark.slow
def test_copy_of_a_slow_task_writes_nothing_twice(store, home, tmp_path, undisturbed):
    """Spark starts a copy on another host only: each worker here claims one of its own."""
    cluster = Standalone(home, write_script(tmp_path / "no_gpus.sh"))
    try:
        for number in (1, 2):
            place = f"--cores 1 --memory 1g --webui-port 0 --work-dir {home}/work{number}"
            cluster.start("worker.Worker", f"--host 127.0.0.{number} {place} {cluster.master}", "")
        conf = {
            "spark.executor.cores": "1",
            "spark.executor.memory": "1g",
            "spark.ui.enabled": "false",
            "spark.speculation": "true",
            "spark.speculation.quantile": "0.5",
            "spark.speculation.multiplier": "1.2",
            "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            "spark.cores.max": "2",
        }
        put_items(store, "wine", AFTER)
        config = config_of(tmp_path, master=cluster.master, **conf)
        settings = faulty_encode.write_settings(tmp_path, config)
        where = {k: v for k, v in environment(home).items() if k.startswith("SPARK_")}
        # A straggler sleeps longer than this test waits.
        finish(faulty_encode.start(settings, AS_OF.isoformat(), "straggler", **where))
    finally:
        cluster.stop()
    check_run(store, undisturbed())
