"""`sail-features train`: a recipe in stages, on tables of a small workspace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import worlds
import yaml
from worlds import at

from sail_features import columns as c
from sail_features.cli import main
from sail_features.encoders.omni.encoder import OmniEncoder
from sail_features.encoders.omni.folder import load_omni, read_saved
from sail_features.schemas import TIMESTAMP
from sail_features.tables import TableStore
from sail_features.training.recipe import load_recipe

torch.set_num_threads(1)  # the models are so small that threads only wait for each other

ITEMS, USERS, TOPICS = 80, 40, 4
UNTIL = at(20)
WORDS = ["wine", "garden", "lamp", "clock"]
STEPS = {"steps": 6, "batch_size": 16, "warmup_steps": 1}
RECIPE = {
    "model": {
        "settings": {"hidden": 16, "layers": 1, "heads": 2, "matryoshka": [8, 16]},
        "towers": {"text": {"kind": "hash", "dim": 32}},
    },
    "data": {
        "alike": {"kind": "pairs", "file": "alike.parquet", "holdout": 0.2},
        "searched": {"kind": "pairs", "file": "searched.parquet", "holdout": 0.3},
        "next": {"kind": "sequence_to_item", "rule": "content"},
    },
    "stages": [
        {"name": "content", "data": {"alike": 1, "searched": 1}, "train": STEPS,
         "balance_against": ["alike"]},
        {"name": "refined", "data": {"alike": 1}, "train": STEPS,
         "losses": {"hard_negatives": {"per_query": 2}}},
        {"name": "sequences", "data": {"next": 1}, "train": STEPS},
    ],
}  # fmt: skip


def topic_of(item):
    return item % TOPICS


def make_events(later=None):
    """Return engagements of users with their topic; those from UNTIL on may be other ones."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(USERS):
        for day in range(1, 29):
            item = int(rng.integers(ITEMS // TOPICS)) * TOPICS + user % TOPICS
            noise = later is not None and day >= 20
            rows.append((f"u{user}", f"i{later(item) if noise else item:02d}", at(day), 1.0))
    return worlds.events(rows)


@pytest.fixture
def workspace(tmp_path):
    """Return a folder with settings, a recipe, pair files, items and events."""
    rng = np.random.default_rng(1)
    store = TableStore(tmp_path / "tables")
    named = [(f"i{n:02d}", at(0), f"{WORDS[topic_of(n)]} number {n}") for n in range(ITEMS)]
    worlds.publish(store, "items", worlds.items(named), as_of=at(29))
    worlds.publish(store, "events", make_events(), as_of=at(29))
    queries = rng.integers(0, ITEMS, 200)
    targets = (queries + TOPICS * rng.integers(1, ITEMS // TOPICS, 200)) % ITEMS
    ids = [[f"i{n:02d}" for n in side.tolist()] for side in (queries, targets)]
    alike = {"query_item_id": ids[0], "target_item_id": ids[1]}
    searched = {
        "query_text": [f"{WORDS[topic_of(n)]} {n % 5}" for n in queries.tolist()],
        "target_item_id": ids[0],
    }
    pq.write_table(pa.table(alike), tmp_path / "alike.parquet")
    pq.write_table(pa.table(searched), tmp_path / "searched.parquet")
    (tmp_path / "sail.yaml").write_text("workspace: .\n")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(RECIPE))
    return tmp_path


def run(folder, *options, recipe="train.yaml"):
    files = ["--config", str(folder / "sail.yaml"), "--recipe", str(folder / recipe)]
    with pytest.raises(SystemExit) as ended:
        main(["train", *files, "--trained-until", UNTIL.isoformat(), "--no-track", *options])
    return ended.value.code or 0


def weights_of(folder):
    return (folder / "models" / "model" / "model.safetensors").read_bytes()


def stages_of(folder):
    return sorted(path.name for path in (folder / "models").glob("[0-9]-*"))


def change(folder, **changes):
    (folder / "train.yaml").write_text(yaml.safe_dump({**RECIPE, **changes}))


def test_searches_of_the_log_are_trained_on_and_measured(workspace, capsys):
    searched = pq.read_table(workspace / "searched.parquet").group_by(
        ["query_text", "target_item_id"]
    )
    rows = searched.aggregate([]).rename_columns([c.SEARCH_QUERY, c.ITEM_ID])
    for name, value in ((c.EVENT_TIMESTAMP, UNTIL), (c.AVAILABLE_AT, UNTIL), (c.CREATED, UNTIL)):
        rows = rows.append_column(name, pa.array([value] * len(rows), TIMESTAMP))
    rows = rows.append_column(c.SUPPORT, pa.array([3] * len(rows), pa.int32()))
    stage = {"name": "searches", "data": {"asked": 1}, "train": STEPS}
    data = {"asked": {"kind": "mined", "source": "search", "holdout": 0.3}}
    change(workspace, data=data, stages=[stage])
    assert run(workspace) == 2
    assert "on events with a search_query" in capsys.readouterr().err
    worlds.publish(TableStore(workspace / "tables"), "search_pair", rows, as_of=UNTIL)
    assert run(workspace, "--evaluate") == 0
    assert "q2i asked: recall@10" in capsys.readouterr().out


def test_a_recipe_trains_an_encoder_that_serves(workspace, capsys):
    assert run(workspace, "--evaluate") == 0
    said = capsys.readouterr().out
    assert "i2i alike: recall@10" in said
    assert "q2i searched: recall@10" in said
    assert "sequence vanilla: recall@10" in said
    assert "sequence filtered: recall@10" in said
    assert "collaborative: Kendall" in said
    saved = read_saved(workspace / "models" / "model")
    assert saved.trained_until == UNTIL
    encoder = OmniEncoder(str(saved.folder))
    vectors = encoder.encode([{"text": "wine number 4"}, {"text": "clock number 7"}])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    lineage = json.loads((workspace / "models" / stages_of(workspace)[0] / "model/lineage.json")
                         .read_text())  # fmt: skip
    assert set(lineage["weights"]) == {"alike", "searched"}
    assert sum(lineage["weights"].values()) == pytest.approx(1)


def test_run_again_it_reads_what_is_finished_and_trains_what_has_changed(workspace, capsys):
    run(workspace)
    weights, stages = weights_of(workspace), stages_of(workspace)
    assert run(workspace) == 0
    assert (weights_of(workspace), stages_of(workspace)) == (weights, stages)
    last = RECIPE["stages"][2] | {"train": STEPS | {"seed": 1}}
    change(workspace, stages=[*RECIPE["stages"][:2], last])
    run(workspace)
    assert stages_of(workspace)[:2] == stages[:2]
    assert len(stages_of(workspace)) == 4
    assert weights_of(workspace) != weights


def test_a_stage_begins_alike_whether_those_before_it_ran_or_were_read(workspace):
    data = RECIPE["data"] | {"next": RECIPE["data"]["next"] | {"transformer": True}}
    change(workspace, data=data)
    run(workspace)
    weights = weights_of(workspace)
    shutil.rmtree(workspace / "models" / stages_of(workspace)[2])
    run(workspace)
    assert weights_of(workspace) == weights


def test_what_a_later_stage_lacks_is_told_before_the_first_begins(workspace, capsys):
    unknown = pa.table({"query_item_id": ["i00", "who"], "target_item_id": ["i01", "i02"]})
    pq.write_table(unknown, workspace / "later.parquet")
    data = RECIPE["data"] | {"later": {"kind": "pairs", "file": "later.parquet"}}
    stage = {"name": "later", "data": {"later": 1}, "train": STEPS}
    change(workspace, data=data, stages=[*RECIPE["stages"], stage])
    assert run(workspace) == 2
    assert "pairs name 1 items that have no inputs: who" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not stages_of(workspace)


@pytest.mark.slow
def test_events_after_trained_until_change_no_weight(workspace):
    run(workspace)
    before = weights_of(workspace)
    rng = np.random.default_rng(9)
    other = make_events(later=lambda item: int(rng.integers(ITEMS)))
    store = TableStore(workspace / "tables")
    worlds.publish(store, "events", other, as_of=at(29))
    run(workspace, "--out", str(workspace / "again"))
    again = (workspace / "again" / "model" / "model.safetensors").read_bytes()
    assert again == before


def test_a_dry_run_checks_everything_and_writes_nothing(workspace, capsys):
    run(workspace, "--dry-run")
    assert "would encode the items' text first" in capsys.readouterr().out
    run(workspace)
    stages = stages_of(workspace)
    change(workspace, seed=5)
    assert run(workspace, "--dry-run") == 0
    assert "stage sequences: 6 steps on next" in capsys.readouterr().out
    assert stages_of(workspace) == stages


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": {"settings": {"towers": {}}}}, "name them under model.towers"),
        ({"model": {"settings": {"name": "x"}}}, "model.settings.name: no such setting"),
        ({"model": {"settings": {"backbone": ["a"]}}}, "model.settings.backbone: Input should"),
        ({"model": {"settings": {"hidden": 100}}}, "expected hidden (100): set both"),
        ({"model": {"settings": {"behaviour": {"share": 0}}}}, "model.settings.behaviour.share"),
        ({"model": {"preset": "tiny", "start_from": "models/model"}}, "start_from or preset"),
        ({"stages": [{"name": "a", "data": {"alike": 0}}]}, "stages.0.data.alike: Input should"),
        ({"stages": [{"name": "a", "data": {"absent": 1}}]}, "no such data set 'absent'"),
        ({"stages": [{"name": "a b", "data": {"alike": 1}}]}, "name"),
        ({"data": {"alike": {"kind": "other"}}}, "alike"),
        ({"data": {"alike": {"kind": "items", "patterns": [["text", "text"]]}}}, "cross two"),
        ({"model": {"towers": {"text": {"kind": "sail", "model": "m"}}}}, "text tower: is of kind"),
        ({"model": {"preset": "huge", "towers": RECIPE["model"]["towers"]}}, "choose one of tiny"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(workspace, capsys, changes, problem):
    change(workspace, **changes)
    assert run(workspace) == 2
    assert problem in " ".join(capsys.readouterr().err.split())
    assert not (workspace / "models").exists()


def test_the_recipe_that_ships_is_a_valid_one():
    recipe = load_recipe(Path(__file__).parents[2] / "train.yaml")
    assert [stage.name for stage in recipe.stages] == ["content", "refined", "sequences", "ids"]
    assert recipe.uses_behaviour()


def test_a_rule_of_labels_without_any_is_refused(workspace, capsys):
    data = RECIPE["data"] | {"next": {"kind": "sequence_to_item", "rule": "labels"}}
    change(workspace, data=data, stages=RECIPE["stages"][2:])
    assert run(workspace) == 2
    assert "none has tags or a category to compare" in capsys.readouterr().err


def test_bad_pairs_are_refused_before_training(workspace, capsys):
    unknown = pa.table({"query_item_id": ["i00", "who"], "target_item_id": ["i01", "i02"]})
    pq.write_table(unknown, workspace / "alike.parquet")
    assert run(workspace) == 2
    assert "pairs name 1 items that have no inputs: who" in " ".join(
        capsys.readouterr().err.split()
    )
    assert not stages_of(workspace)


ASKED = {"query_text": ["wine 1", None, " "], "target_item_id": ["i00", "i01", "i02"]}


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (ASKED, "query_text is null or blank in 2 of 3 rows"),
        ({"query_text": [1, 2], "target_item_id": ["i00", "i01"]}, "'query_text' is int64"),
        ({"query": ["i00"], "target_item_id": ["i01"]}, "neither query_item_id nor query_text"),
        ({"query_item_id": ["i00", None], "target_item_id": ["i01", "i02"]}, "in 1 of 2 rows"),
        ({**ASKED, "query_text": ["a", "b", "c"], "grade": ["x", "y", "z"]}, "'grade' is string"),
        (None, "no such file"),
    ],
)
def test_a_file_of_pairs_is_checked_before_training(workspace, capsys, rows, problem):
    path = workspace / "searched.parquet"
    path.unlink() if rows is None else pq.write_table(pa.table(rows), path)
    assert run(workspace) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert problem in said
    assert "searched" in said
    assert not stages_of(workspace)


def test_pairs_that_lack_a_side_are_dropped_where_that_is_asked(workspace, capsys):
    asked = {"query_text": ["wine 1", "wine 2", None, "lamp"], "target_item_id": ["i00"] * 4}
    pq.write_table(pa.table(asked), workspace / "searched.parquet")
    data = RECIPE["data"] | {
        "searched": {"kind": "pairs", "file": "searched.parquet", "on_missing": "drop"}
    }
    stage = {"name": "searched", "data": {"searched": 1}, "train": STEPS}
    change(workspace, data=data, stages=[stage])
    run(workspace)
    assert run(workspace, "--dry-run") == 0
    assert "on searched 3" in capsys.readouterr().out


def test_another_model_at_the_same_path_begins_another_stage(workspace):
    change(workspace, stages=RECIPE["stages"][:1])
    run(workspace)
    shutil.copytree(workspace / "models" / "model", workspace / "start")
    change(workspace, stages=RECIPE["stages"][:1], seed=1)
    run(workspace)
    model = {"start_from": "start", "towers": RECIPE["model"]["towers"]}
    change(workspace, model=model, stages=RECIPE["stages"][1:2])
    run(workspace, "--out", str(workspace / "further"))
    shutil.copytree(workspace / "models" / "model", workspace / "start", dirs_exist_ok=True)
    run(workspace, "--out", str(workspace / "further"))
    assert len(list((workspace / "further").glob("1-refined-*"))) == 2


def test_a_folder_that_cannot_be_or_is_the_start_is_refused(workspace, capsys):
    (workspace / "file").write_text("")
    assert run(workspace, "--out", str(workspace / "file")) == 2
    assert "can't be made" in capsys.readouterr().err
    run(workspace)
    model = {"start_from": "models/model", "towers": RECIPE["model"]["towers"]}
    change(workspace, model=model, stages=RECIPE["stages"][:1])
    capsys.readouterr()
    assert run(workspace) == 2
    assert "is where this training writes its own model" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_time_before_any_item_is_refused(workspace, capsys):
    assert run(workspace, "--trained-until", at(-1).isoformat()) == 2
    assert "no item was known before" in capsys.readouterr().err
    assert run(workspace, "--trained-until", "yesterday") == 2
    assert "--trained-until: 'yesterday' is no date" in capsys.readouterr().err


def test_a_time_of_training_after_the_data_is_refused(workspace, capsys):
    files = ["--config", str(workspace / "sail.yaml"), "--recipe", str(workspace / "train.yaml")]
    with pytest.raises(SystemExit) as ended:
        main(["train", *files, "--as-of", "2024-03-20", "--trained-until", "2024-03-25"])
    assert ended.value.code == 2
    assert "is after --as-of" in capsys.readouterr().err


@pytest.mark.slow
def test_a_model_is_trained_further_from_its_folder(workspace):
    run(workspace)
    first = load_omni(workspace / "models" / "model").state_dict()
    model = {"start_from": "models/model", "towers": RECIPE["model"]["towers"]}
    change(workspace, model=model, stages=RECIPE["stages"][:1])
    assert run(workspace, "--out", str(workspace / "further")) == 0
    further = load_omni(workspace / "further" / "model").state_dict()
    assert first.keys() == further.keys()
    assert any(not (first[name] == further[name]).all() for name in first)


JOINT = {"behaviour": {"hidden": 8, "heads": 2, "share": 0.3}}


def joint_recipe():
    """Return changes of the recipe that give sequences a part of their own."""
    model = RECIPE["model"] | {"settings": RECIPE["model"]["settings"] | JOINT}
    return {"model": model, "stages": [RECIPE["stages"][0], sequence_stage()]}


def sequence_stage():
    return RECIPE["stages"][2] | {"part": "behaviour"}


def test_behaviour_with_a_part_of_its_own_leaves_content_as_it_was(workspace, capsys):
    change(workspace, **joint_recipe())
    assert run(workspace, "--evaluate") == 0
    first, last = (
        load_omni(workspace / "models" / stage / "model") for stage in stages_of(workspace)
    )
    before, after = first.state_dict(), last.state_dict()
    moved = {name for name in before if not (before[name] == after[name]).all()}
    assert {name.partition(".")[0] for name in moved} == {"behaviour", "share"}
    texts = [{"text": "wine number 4"}, {"text": "clock number 7"}, {"text": "lamp 1"}]
    vectors = OmniEncoder(str(workspace / "models" / "model")).encode(texts)
    assert vectors.shape == (3, 24)
    np.testing.assert_allclose((vectors[:, 16:] ** 2).sum(axis=1), 0.3, atol=1e-4)


def test_a_saved_model_gets_a_behaviour_part(workspace, capsys):
    change(workspace, stages=RECIPE["stages"][:1])
    run(workspace)
    start = {"start_from": "models/model", "towers": RECIPE["model"]["towers"]}
    change(workspace, model=start | {"settings": JOINT}, stages=[sequence_stage()])
    assert run(workspace, "--out", str(workspace / "wider")) == 0
    content = load_omni(workspace / "models" / "model").state_dict()
    wider = load_omni(workspace / "wider" / "model").content.state_dict()
    assert all(torch.equal(content[name], wider[name]) for name in content)
    change(workspace, model=start | {"start_from": "wider/model", "settings": JOINT},
           stages=[sequence_stage()])  # fmt: skip
    assert run(workspace) == 2
    assert "has a behaviour part already" in capsys.readouterr().err
    files = ["--trained-until", at(10).isoformat(), "--out", str(workspace / "earlier")]
    change(workspace, model=start | {"settings": JOINT}, stages=[sequence_stage()])
    assert run(workspace, *files) == 2
    assert f"was trained until {UNTIL}" in capsys.readouterr().err
    change(workspace, model=start | {"settings": {"hidden": 8}}, stages=[sequence_stage()])
    assert run(workspace) == 2
    assert "has its settings already" in capsys.readouterr().err


def test_a_part_without_its_stage_or_the_other_way_is_refused(workspace, capsys):
    change(workspace, **joint_recipe() | {"stages": RECIPE["stages"][:1]})
    assert run(workspace) == 2
    assert "no stage trains the behaviour part" in capsys.readouterr().err
    change(workspace, stages=[*RECIPE["stages"][:1], sequence_stage()])
    assert run(workspace) == 2
    assert "trains a behaviour part that the model hasn't" in capsys.readouterr().err
    assert not stages_of(workspace)


@pytest.mark.slow
def test_curves_and_measures_are_in_mlflow(workspace):
    import mlflow

    run(workspace, "--evaluate", "--track")
    mlflow.set_tracking_uri(f"sqlite:///{workspace / 'mlflow.db'}")
    found = mlflow.search_runs(experiment_names=["sail-features train"])
    assert set(found["tags.mlflow.runName"]) == {"content", "refined", "sequences", "embedding"}
    embedding = found[found["tags.mlflow.runName"] == "embedding"].iloc[0]
    client = mlflow.MlflowClient()
    history = client.get_metric_history(embedding["run_id"], "i2i alike: recall at 10")
    assert [point.step for point in history] == [0, 1, 2, 3]
    refined = found[found["tags.mlflow.runName"] == "refined"].iloc[0]
    assert len(client.get_metric_history(refined["run_id"], "alike/total")) == 2
