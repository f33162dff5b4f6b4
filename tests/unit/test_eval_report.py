"""The report, the table and the verdict's words, from hand-made figures."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from ranking_eval import Arm, ArmResult, Evaluation, Experiment, Lift, compute_verdict
from ranking_eval.ablation import GroupValue
from ranking_eval.control_arms import ControlArm
from ranking_eval.cost import Cost
from ranking_eval.curves import ArmCurves, LearningCurve
from ranking_eval.formats import format_delta
from ranking_eval.inference import REPORTED
from ranking_eval.metrics.roc_curve import compute_roc_curve
from ranking_eval.plots import draw_all
from ranking_eval.rankers import Fit
from ranking_eval.report import write_report
from ranking_eval.slice_lifts import SliceLift
from ranking_eval.table import print_summary
from ranking_eval.verdict import Outcome

HOSTILE = "<script>alert('x')</script> $\\frac{1}$ & [red]"
ARMS = (
    Arm("control", ("ctr",)),
    Arm("treatment", ("ctr", HOSTILE)),
    Arm("placebo", ("ctr", "shuffled")),
)
EXPERIMENT = Experiment(f"shop {HOSTILE}", ARMS)
METRICS = REPORTED


def make_lifts(delta, half):
    """A better AUC and, where it is better, better probabilities, whose figures are lower."""
    deltas = {name: delta if "auc" in name else -delta for name in METRICS}
    return {
        name: Lift(name, value, value - half, value + half, half / 2, 80.0)
        for name, value in deltas.items()
    }


def make_evaluation(*, lift=0.0026, placebo=0.0002, banner=None):
    draw = np.random.default_rng(0)

    def result(arm):
        scores = draw.random((2, 60))
        fit = Fit(scores, (10, 12), dict.fromkeys(arm.columns, 0.5), "model", 1.5)
        return ArmResult(fit, dict.fromkeys(METRICS, (0.70, 0.72)))

    return Evaluation(
        rows=1234,
        users=90,
        test_rows=60,
        test_users=20,
        arms={arm.name: result(arm) for arm in ARMS},
        lift=make_lifts(lift, 0.001),
        placebo=make_lifts(placebo, 0.001),
        lift_over_placebo=make_lifts(lift - placebo, 0.001),
        split={"warmup_end": "2024-01-02T00:00:00+00:00"},
        checks=("all arms have the same rows",),
        notes=(f"a note on {HOSTILE}",),
        banner=banner,
        test_labels=draw.integers(0, 2, 60),
        tested=pa.table({"item_id": range(60)}),
        fingerprint="f" * 64,
    )


class Page(HTMLParser):
    """Tags and visible text of a page, and what it would load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.links = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href") and value]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "deep" / "report.html"
    steps = {f"encode {HOSTILE}": {"seconds": 12.34, "peak_gb": 1.5}, "match": {"seconds": 1.0}}
    write_report(
        make_evaluation(banner="Few effective users"),
        EXPERIMENT,
        path,
        steps=steps,
        notes=["sampled 10 %"],
    )
    return path.read_text(encoding="utf-8")


def test_the_report_begins_with_the_verdict(page):
    text = " ".join(Page(page).text)
    verdict = "credible lift of +.0026 [+.0016, +.0036] AUC; placebo +.0002 [-.0008, +.0012]"
    assert verdict in text
    assert text.index(verdict) < text.index("Differences")


def test_the_report_holds_figures_steps_checks_and_notes(page):
    text = " ".join(Page(page).text)
    for words in (
        "1,234",
        "impression-weighted grouped AUC",
        "12.3",
        "all arms have the same rows",
    ):
        assert words in text
    assert "sampled 10 %" in text
    assert "Few effective users" in text


def test_the_report_is_one_file_that_loads_nothing(page):
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe"} & set(parsed.tags)
    assert all(link.startswith("#") for link in parsed.links)
    assert not re.search(r"url\((?!#)|@import", page)


def test_hostile_names_are_shown_and_not_run(page):
    assert "<script" not in page
    assert "alert('x')" in " ".join(Page(page).text)


def test_the_report_suits_a_phone_and_a_dark_page(page):
    assert 'name="viewport"' in page
    assert "prefers-color-scheme: dark" in page
    assert "currentColor" in page


def test_plots_are_xml_and_the_same_every_time():
    found = replace(make_evaluation(), curves=make_curves(), **make_ablation())
    first, second = draw_all(found), draw_all(found)
    assert {"roc", "learning", "cost"} <= set(first)
    assert first == second
    for svg in first.values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")  # noqa: S314 (our own text)


def test_ids_of_one_plot_do_not_occur_in_another():
    ids = [
        re.findall(r'<clipPath id="([^"]+)"', svg) for svg in draw_all(make_evaluation()).values()
    ]
    assert len({name for of_plot in ids for name in of_plot}) == sum(len(set(i)) for i in ids)


def test_a_lift_within_noise_is_not_credible():
    assert compute_verdict(make_evaluation(lift=0.0005)).sentence.startswith(
        "no credible lift: +.0005 [-.0005, +.0015] AUC"
    )


def test_a_lift_that_the_placebo_shares_is_not_credible():
    verdict = compute_verdict(make_evaluation(lift=0.0026, placebo=0.0024)).sentence
    assert verdict.startswith("no credible lift: +.0026")
    assert verdict.endswith("the placebo shares it: treatment - placebo +.0002 [-.0008, +.0012]")


def test_a_lift_that_grouped_auc_pays_for_is_not_credible():
    found = make_evaluation(lift=0.0026)
    harm = Lift("grouped_auc", -0.005, -0.008, -0.002, 0.0015, 400.0, 0.0003)
    verdict = compute_verdict(replace(found, lift={**found.lift, "grouped_auc": harm})).sentence
    assert verdict.startswith("no credible lift: +.0026")
    assert verdict.endswith("grouped AUC falls: -.0050 [-.0080, -.0020]")


def outcome_of(evaluation):
    return compute_verdict(evaluation).outcome


def test_the_outcome_depends_on_what_could_have_been_seen():
    found = make_evaluation(lift=0.0005)

    def seeing(detectable):
        lift = replace(found.lift["auc"], detectable=detectable)
        return replace(found, lift={**found.lift, "auc": lift})

    assert outcome_of(seeing(0.002)) is Outcome.INCONCLUSIVE
    assert outcome_of(seeing(0.0008)) is Outcome.NO_LIFT
    assert outcome_of(make_evaluation(lift=-0.005)) is Outcome.NO_LIFT
    assert outcome_of(replace(found, lift_over_placebo={})) is Outcome.INCONCLUSIVE


def harmed_slice():
    lift = Lift("auc", -0.02, -0.03, -0.01, 0.005, 80.0, p_value=0.0001)
    return SliceLift(f"kind: {HOSTILE}", 20, lift, adjusted_p=0.001)


def test_a_lift_that_harms_a_slice_or_the_probabilities_is_not_credible():
    good = make_evaluation()
    assert outcome_of(good) is Outcome.CREDIBLE
    harmed = compute_verdict(replace(good, slices=(harmed_slice(),)))
    assert harmed.outcome is Outcome.NO_LIFT
    assert harmed.sentence.endswith(f"harms kind: {HOSTILE}")
    worse = replace(good.lift["normalized_entropy"], delta=0.002, low=0.001, high=0.003)
    dearer = compute_verdict(replace(good, lift={**good.lift, "normalized_entropy": worse}))
    assert dearer.sentence.endswith("normalised entropy rises: +.0020 [+.0010, +.0030]")


def test_probabilities_that_are_off_by_more_than_chance_are_an_objection():
    good = make_evaluation()

    def off_by(low):
        worse = replace(good.lift["calibration_gap"], delta=low + 0.01, low=low, high=low + 0.02)
        return compute_verdict(replace(good, lift={**good.lift, "calibration_gap": worse}))

    assert off_by(0.02).outcome is Outcome.CREDIBLE
    assert off_by(0.05).sentence.endswith("calibration gets worse: +.0600 [+.0500, +.0700]")


def make_curves():
    roc = compute_roc_curve([0, 1, 0, 1], [0.1, 0.4, 0.3, 0.9])
    learning = LearningCurve(np.array([1, 10]), np.array([0.6, 0.7]))
    return {arm.name: ArmCurves(roc, learning) for arm in ARMS}


def make_ablation():
    """Two groups, one of a hostile name, the other the dearer and worse one."""
    small, large = make_lifts(0.002, 0.001)["auc"], make_lifts(0.001, 0.001)["auc"]
    costs = {HOSTILE: Cost(bytes_per_row=4.0), "dear": Cost(online_ms=2.0, bytes_per_row=64.0)}
    return {
        "ablation": (
            GroupValue(HOSTILE, (HOSTILE,), small, small),
            GroupValue("dear", ("other",), large, large),
        ),
        "costs": {"treatment": Cost(bytes_per_row=68.0), **costs},
    }


def test_curves_stand_in_page_and_summary(tmp_path):
    found = replace(make_evaluation(), curves=make_curves())
    write_report(found, EXPERIMENT, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    text = " ".join(page.text)
    assert "ROC curves on the test rows" in text
    assert "boosting rounds, up to where training stopped" in text
    told = found.summary()["curves"]["treatment"]
    assert told["roc"]["true_positive_rate"] == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert told["learning"] == {"rounds": [1, 10], "auc": [0.6, 0.7]}


def test_cost_stands_beside_value_with_the_front_marked(tmp_path):
    found = replace(make_evaluation(), **make_ablation())
    assert found.worth_their_price() == (HOSTILE, "treatment")
    assert found.summary()["costs"]["dear"] == {"online_ms": 2.0, "bytes_per_row": 64.0}
    write_report(found, EXPERIMENT, tmp_path / "report.html")
    text = " ".join(Page((tmp_path / "report.html").read_text()).text)
    assert "feature bytes a row" in text
    assert text.count("Pareto front") == 2


def test_markdown_says_the_same_and_shows_hostile_names_as_they_are(tmp_path):
    small = SliceLift("few", 3, reason="1.5 effective users")
    found = replace(
        make_evaluation(banner="Few effective users"),
        slices=(harmed_slice(), small),
        suspicions=(f"column {HOSTILE}",),
        **make_ablation(),
    )
    write_report(found, EXPERIMENT, tmp_path / "report.html", notes=["sampled 10 %"])
    text = (tmp_path / "report.md").read_text()
    assert "<script" not in text.replace(r"\<script", "")
    for words in (
        "**invalid**: suspected leak: column",
        "| AUC | treatment - control | +.0026 | +.0016 to +.0036 |",
        "1.5 effective users",
        "- sampled 10 %",
        "| dear | +.0010 | +.0010 | 64 | 2 | - |  |",
    ):
        assert words in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_the_report_shows_slices_and_suspicions_as_text(tmp_path):
    small = SliceLift("few", 3, reason="1.5 effective users")
    found = replace(
        make_evaluation(), slices=(harmed_slice(), small), suspicions=(f"column {HOSTILE}",)
    )
    path = tmp_path / "report.html"
    write_report(found, EXPERIMENT, path)
    text = path.read_text()
    assert "<script>" not in text
    assert "-.0200" in text
    assert "harmed" in text
    assert "1.5 effective users" in text
    assert "What looks like a leak" in text
    assert "suspected leak: column &lt;script&gt;" in text


@pytest.mark.parametrize(
    ("value", "written"), [(0.0026, "+.0026"), (-0.5, "-.5000"), (0.0, "+.0000"), (1.0, "+1.0000")]
)
def test_differences_are_written_with_their_sign(value, written):
    assert format_delta(value) == written


def test_the_table_shows_arms_lift_placebo_and_cost():
    arm = ControlArm(make_lifts(0.0025, 0.001), make_lifts(0.0001, 0.001))
    found = replace(make_evaluation(), control_arms={"lagged": arm})
    summary = found.summary() | {
        "dataset": "shop [bold]",
        "steps": {"encode [red]": {"seconds": 3.0, "peak_gb": 1.25}},
    }
    console = Console(file=io.StringIO(), width=100)
    print_summary(summary, console)
    shown = console.file.getvalue()
    for words in (
        "1,234",
        "treatment: AUC",
        "+.0026 [+.0016, +.0036]",
        "+.0002",
        "lagged lift: AUC",
        "+.0025 [+.0015, +.0035]",
        "1.25 GB",
    ):
        assert words in shown
    assert "shop [bold]" in shown
    assert "encode [red]" in shown
