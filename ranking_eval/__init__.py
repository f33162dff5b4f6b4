"""An offline A/B harness for ranking features: it judges columns, never makes them.

The smallest use needs a frame and two lists of columns::

    from ranking_eval import Arm, Experiment, evaluate

    arms = (Arm("control", base), Arm("treatment", (*base, "max_similarity")))
    found = evaluate(frame, Experiment("similarity", arms, placebo=None))
    found.summary()["lift"]["auc"]

`calibrate` measures how much a seed alone changes a metric; give what it returns to
`evaluate` for intervals that know it. `run_study` compares subsets of the inputs.

Importing this package loads neither Feast, MLflow nor LightGBM: `retrieval` and
`tracking` import the first two, and the third is loaded by the first fit.
"""

from ranking_eval.calibrate import calibrate
from ranking_eval.cost import GivenCost
from ranking_eval.evaluate import evaluate
from ranking_eval.evaluation import ArmResult, Evaluation
from ranking_eval.experiment import Arm, Artefact, Experiment
from ranking_eval.inference import Lift, TrainingNoise
from ranking_eval.metrics import GroupedAuc, compute_auc, compute_grouped_auc, compute_log_loss
from ranking_eval.split import Split, split_rows, warmup_end
from ranking_eval.study import Study, Subset, run_study
from ranking_eval.verdict import Outcome, Verdict, compute_verdict

__all__ = [
    "Arm",
    "ArmResult",
    "Artefact",
    "Evaluation",
    "Experiment",
    "GivenCost",
    "GroupedAuc",
    "Lift",
    "Outcome",
    "Split",
    "Study",
    "Subset",
    "TrainingNoise",
    "Verdict",
    "calibrate",
    "compute_auc",
    "compute_grouped_auc",
    "compute_log_loss",
    "compute_verdict",
    "evaluate",
    "run_study",
    "split_rows",
    "warmup_end",
]
