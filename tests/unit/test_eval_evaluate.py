"""The whole judgement on small worlds: a planted lift is found, a null one isn't."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ranking_eval import (
    Arm,
    Artefact,
    Experiment,
    calibrate,
    compute_auc,
    evaluate,
    warmup_end,
)
from ranking_eval.verdict import Outcome, compute_verdict
from sail_features.config import EvalConfig
from sail_features.errors import EvaluationError, InputError, LeakageError

START = pd.Timestamp("2024-01-01", tz="UTC")
CONFIG = EvalConfig(seeds=(0, 1), max_rounds=60, early_stopping_rounds=10, controls=False)
ARMS = (
    Arm("control", ("ctr", "category")),
    Arm("treatment", ("ctr", "category", "match")),
    Arm("placebo", ("ctr", "category", "shuffled")),
)


def make_world(effect, *, seed=0, users=120, rows=4000):
    """Impressions whose labels follow ``ctr`` and, by ``effect``, ``match``."""
    draw = np.random.default_rng(seed)
    user, ctr, match = draw.integers(0, users, rows), draw.normal(size=rows), draw.normal(size=rows)
    log_odds = -0.3 + 0.6 * ctr + effect * match + 0.5 * draw.normal(size=users)[user]
    shown_at = START + pd.to_timedelta(draw.integers(0, 30 * 86_400, rows), unit="s")
    return pd.DataFrame(
        {
            "request_id": [f"r{row}" for row in range(rows)],
            "user_id": [f"u{number}" for number in user],
            "item_id": draw.integers(0, 50, rows),
            "event_timestamp": shown_at,
            "label": (draw.random(rows) < 1 / (1 + np.exp(-log_odds))).astype(int),
            "ctr": ctr,
            "category": draw.choice(["a", "b", None], rows),
            "match": match,
            "shuffled": draw.permutation(match),
            "match__feature_time": shown_at - pd.Timedelta("1us"),
        }
    )


def make_experiment(arms=ARMS, **options):
    return Experiment("world", arms, **{"eval": CONFIG, **options})


@pytest.fixture(scope="module")
def planted():
    return make_world(effect=0.8)


@pytest.fixture(scope="module")
def judged(planted):
    return evaluate(planted, make_experiment())


def test_a_planted_lift_is_found_and_its_placebo_has_none(judged):
    for metric in ("auc", "grouped_auc"):
        assert judged.lift[metric].low > 0
        assert judged.lift_over_placebo[metric].low > 0
        assert judged.placebo[metric].low < 0 < judged.placebo[metric].high
    assert judged.lift["log_loss"].high < 0
    assert compute_verdict(judged).outcome is Outcome.CREDIBLE
    assert compute_verdict(judged).sentence.startswith("credible lift of +.")


def test_a_world_without_lift_is_called_so():
    found = evaluate(make_world(effect=0.0), make_experiment())
    assert found.lift["auc"].low < 0 < found.lift["auc"].high
    assert compute_verdict(found).sentence.startswith("no credible lift: ")


def test_a_lift_that_its_placebo_shares_is_not_credible(planted):
    twins = planted.assign(shuffled=planted["match"])
    found = evaluate(twins, make_experiment())
    assert found.lift["auc"].low > 0
    assert found.lift_over_placebo["auc"].delta == 0
    assert "no credible lift" in compute_verdict(found).sentence
    assert "the placebo shares it" in compute_verdict(found).sentence


def test_permuting_rows_gives_the_identical_evaluation(planted, judged):
    shuffled = evaluate(planted.sample(frac=1.0, random_state=1), make_experiment())
    assert shuffled.summary() == judged.summary()
    for name, arm in judged.arms.items():
        assert np.array_equal(shuffled.arms[name].fit.scores, arm.fit.scores)
        assert shuffled.arms[name].fit.model == arm.fit.model


def test_arrow_and_a_frame_an_arm_give_the_same_as_pandas(planted, judged):
    table = pa.Table.from_pandas(planted, preserve_index=False)
    assert evaluate(table, make_experiment()).summary() == judged.summary()
    frames = {
        arm.name: planted.drop(
            columns=[name for name in ("match", "shuffled") if name not in arm.columns]
        )
        for arm in ARMS
    }
    assert evaluate(frames, make_experiment()).summary()["lift"] == judged.summary()["lift"]


def test_another_feature_value_changes_the_fingerprint(planted, judged):
    changed = planted.copy()
    changed.loc[0, "match"] += 1.0
    assert evaluate(changed, make_experiment()).fingerprint != judged.fingerprint


def test_the_summary_is_json_with_the_keys_of_the_demo(judged, planted):
    summary = json.loads(json.dumps(judged.summary(), allow_nan=False))
    assert summary["rows"] == len(planted)
    assert summary["users"] == planted["user_id"].nunique()
    assert set(summary["arms"]) == {"control", "treatment", "placebo"}
    for arm in summary["arms"].values():
        assert {"auc", "grouped_auc", "log_loss"} <= set(arm)
    for comparison in ("lift", "placebo", "lift_over_placebo"):
        for metric in ("auc", "grouped_auc", "log_loss"):
            assert {"delta", "low", "high"} <= set(summary[comparison][metric])


def test_metrics_are_means_over_seeds_of_the_test_rows(judged):
    arm = judged.arms["treatment"]
    by_seed = [compute_auc(judged.test_labels, scores) for scores in arm.fit.scores]
    assert arm.seed_metrics["auc"] == pytest.approx(by_seed, abs=1e-12)
    assert arm.metrics["auc"] == pytest.approx(np.mean(by_seed), abs=1e-12)
    assert arm.fit.scores.shape == (len(CONFIG.seeds), judged.test_rows)
    assert sum(arm.fit.importance.values()) == pytest.approx(1.0)


def test_seeds_change_the_fits_and_enter_the_interval(planted, judged):
    alone = evaluate(planted, make_experiment(eval=CONFIG.model_copy(update={"seeds": (0,)})))
    assert judged.lift["auc"].seed_spread > 0
    assert alone.lift["auc"].seed_spread == 0
    assert any("one seed" in note for note in alone.notes)


def test_a_leaking_feature_time_stops_the_evaluation_before_any_fit(planted):
    leaking = planted.assign(match__feature_time=planted["event_timestamp"])
    said = []
    with pytest.raises(LeakageError, match="request r"):
        evaluate(leaking, make_experiment(), progress=said.append)
    assert said == []


def test_an_artefact_trained_on_the_rankers_training_period_stops_the_evaluation(planted):
    end = warmup_end(planted["event_timestamp"], CONFIG)
    allowed = make_experiment(artefacts=(Artefact("edges", end),))
    late = make_experiment(artefacts=(Artefact("edges", end + timedelta(seconds=1)),))
    assert any("edges" in check for check in evaluate(planted, allowed).checks)
    with pytest.raises(LeakageError, match="edges"):
        evaluate(planted, late)


def test_arms_with_different_rows_are_refused(planted):
    frames = {arm.name: planted for arm in ARMS} | {"treatment": planted.iloc[1:]}
    with pytest.raises(EvaluationError, match=r"arm 'treatment'.*request r0 user"):
        evaluate(frames, make_experiment())


def test_an_arm_without_its_columns_or_frame_is_refused(planted):
    with pytest.raises(EvaluationError, match=r"arm 'treatment': 1 columns are not .*: match"):
        evaluate(planted.drop(columns="match"), make_experiment())
    with pytest.raises(EvaluationError, match="none for arm treatment, placebo"):
        evaluate({"control": planted}, make_experiment())


def test_a_column_that_is_no_scalar_is_refused(planted):
    listed = planted.assign(match=[[1.0]] * len(planted))
    with pytest.raises(EvaluationError, match="column 'match': is list"):
        evaluate(listed, make_experiment())


def test_labels_of_one_class_are_refused(planted):
    with pytest.raises(EvaluationError, match=r"train part: all .* rows have label 0"):
        evaluate(planted.assign(label=0), make_experiment())


def test_one_user_is_refused_since_users_are_the_unit_of_sampling(planted):
    with pytest.raises(EvaluationError, match="one cluster holds every row"):
        evaluate(planted.assign(user_id="u"), make_experiment())


def test_few_users_raise_the_banner():
    found = evaluate(make_world(effect=0.8, users=10, rows=1500), make_experiment())
    assert found.banner is not None
    assert "Few effective users" in found.banner


def test_enough_users_raise_no_banner(judged):
    assert judged.banner is None


def test_constant_and_empty_features_lift_nothing(planted):
    flat = planted.assign(match=1.0, shuffled=np.nan)
    found = evaluate(flat, make_experiment())
    assert found.lift["auc"].delta == found.placebo["auc"].delta == 0


def test_an_arm_of_constants_has_an_auc_of_one_half(planted):
    flat = planted.assign(ctr=0.0, category="a")
    found = evaluate(flat, make_experiment())
    assert found.arms["control"].metrics["auc"] == 0.5
    assert set(found.arms["control"].fit.importance.values()) == {0}


def test_a_category_not_seen_in_training_is_missing_and_counted(planted):
    last = planted["event_timestamp"] > START + pd.Timedelta("29D")
    fresh = planted.assign(category=planted["category"].mask(last, "new").astype("category"))
    found = evaluate(fresh, make_experiment())
    expected = f"arm control: {last.sum()} rows have a value of 'category' not seen in training"
    assert any(note.startswith(expected) for note in found.notes)


def test_columns_may_have_names_that_lightgbm_refuses(planted):
    odd = 'match [%], "x": {1}'
    arms = (ARMS[0], Arm("treatment", (*ARMS[0].columns, odd)))
    found = evaluate(
        planted.rename(columns={"match": odd}), Experiment("odd", arms, CONFIG, placebo=None)
    )
    assert odd in found.arms["treatment"].fit.importance


def test_without_a_placebo_nothing_is_credible(planted):
    found = evaluate(planted, Experiment("x", ARMS[:2], CONFIG, placebo=None))
    assert found.lift["auc"].low > 0
    assert not compute_verdict(found).is_credible
    assert compute_verdict(found).sentence.startswith("no verdict without a placebo arm")
    assert found.summary()["placebo"] == {}


def test_a_missing_id_is_an_input_error(planted):
    with pytest.raises(InputError, match="no column 'user_id'"):
        evaluate(planted.drop(columns="user_id"), make_experiment())


@pytest.fixture(scope="module")
def noise(planted):
    return calibrate(planted, make_experiment())


def test_calibrated_noise_enters_every_interval(planted, judged, noise):
    found = evaluate(planted, make_experiment(), noise=noise)
    for lifts in (found.lift, found.placebo, found.lift_over_placebo):
        for metric, lift in lifts.items():
            assert lift.training_noise == "calibrated"
            assert lift.training_error**2 == pytest.approx(2 * noise.variance[metric] / 2)
    assert found.lift["auc"].delta == judged.lift["auc"].delta
    assert judged.lift["auc"].training_noise == "seed spread"


def test_noise_holds_for_more_seeds_but_not_for_other_parameters(planted, noise):
    more = make_experiment(eval=CONFIG.model_copy(update={"seeds": (5, 6, 7)}))
    assert evaluate(planted, more, noise=noise).lift["auc"].training_noise == "calibrated"
    other = make_experiment(eval=CONFIG.model_copy(update={"max_rounds": 50}))
    found = evaluate(planted, other, noise=noise)
    assert found.lift["auc"].training_noise == "seed spread"
    assert any("calibrate again" in note for note in found.notes)


def test_a_calibration_of_few_fits_is_refused_before_any(planted):
    said = []
    with pytest.raises(EvaluationError, match="3 fits, expected at least 10"):
        calibrate(planted, make_experiment(), fits=3, progress=said.append)
    assert said == []


def test_the_cluster_column_is_the_callers_choice(planted, judged):
    by_item = make_experiment(eval=CONFIG.model_copy(update={"cluster_by": "item_id"}))
    found = evaluate(planted, by_item)
    assert found.lift["auc"].delta == judged.lift["auc"].delta
    assert found.lift["auc"].effective_users == pytest.approx(50, rel=0.1)
    paged = planted.assign(page=[f"p{row % 70}" for row in range(len(planted))])
    config = CONFIG.model_copy(update={"cluster_by": "page"})
    assert evaluate(paged, make_experiment(eval=config)).lift["auc"].effective_users > 50
    with pytest.raises(EvaluationError, match=r"eval\.cluster_by: page: no such column"):
        evaluate(planted, make_experiment(eval=config))
    with pytest.raises(EvaluationError, match=r"eval\.cluster_by: page: 4000 rows are null"):
        evaluate(planted.assign(page=None), make_experiment(eval=config))


def test_fewer_than_ten_effective_users_get_no_verdict():
    found = evaluate(make_world(effect=0.8, users=7, rows=1500), make_experiment())
    assert not compute_verdict(found).is_credible
    assert compute_verdict(found).sentence.startswith("no verdict from 6.")


def test_other_methods_stand_beside_the_interval(judged):
    assert set(judged.references) == {"sandwich", "bootstrap", "two_way", "delong"}
    users_alone = judged.lift["auc"].standard_error ** 2 - judged.lift["auc"].training_error ** 2
    assert judged.references["sandwich"] == pytest.approx(users_alone**0.5, rel=0.1)
    assert judged.summary()["references"] == judged.references


def test_progress_hears_of_each_arm(planted):
    said = []
    evaluate(planted, make_experiment(), progress=said.append)
    assert [words.split()[2] for words in said[1:]] == ["control", "treatment", "placebo"]
    assert said[0] == "looking for leaks"


def test_split_times_are_those_of_the_configuration(judged):
    times = [datetime.fromisoformat(time) for time in judged.split.values()]
    assert times == sorted(times)
    assert all(time.tzinfo == UTC for time in times)


def test_importing_the_judge_loads_nothing_heavy():
    heavy = "{'feast', 'mlflow', 'lightgbm', 'matplotlib', 'torch', 'pyspark'}"
    code = f"import sys, ranking_eval; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_ablation_tells_what_each_group_of_columns_is_worth(planted):
    arms = (
        Arm("control", ("ctr",)),
        Arm("treatment", ("ctr", "match", "noise", "copy")),
        Arm("placebo", ("ctr", "shuffled")),
    )
    draw = np.random.default_rng(1)
    frame = planted.assign(noise=draw.normal(size=len(planted)), copy=planted["match"])
    groups = {"match": ["match"], "noise": ["noise"], "both": ["match", "copy"]}
    said = []
    found = evaluate(frame, make_experiment(arms=arms), groups=groups, progress=said.append)
    match, noise, both = found.ablation
    assert match.left_out.high >= 0 >= match.left_out.low, "its copy says the same"
    assert match.alone.low > 0
    assert match.adjusted_alone < 0.05
    assert noise.alone.low < 0.01
    assert noise.adjusted_alone > 0.05
    assert both.left_out.low > 0
    assert both.left_out.delta == pytest.approx(found.lift["auc"].delta, abs=0.02)
    assert said[-1] == "ablation: without both, and both alone"
    assert [row["group"] for row in found.summary()["ablation"]] == list(groups)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (["ctr"], "ctr: not added by the treatment"),
        ([], "empty"),
        (["match"], "it is all that the treatment adds"),
    ],
)
def test_a_group_that_makes_no_sense_is_refused(planted, columns, words):
    with pytest.raises(EvaluationError, match=words):
        evaluate(planted, make_experiment(), groups={"odd": columns})
