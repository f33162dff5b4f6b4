"""Inference: how far a difference of two arms can be trusted.

Every metric comes with the influence of each cluster (as a rule, the user); the
interval is the exact delete-one-cluster jackknife with t quantiles and the noise of
training. The sandwich, the bootstrap and DeLong stand beside it as references.
"""

from ranking_eval.inference.bootstrap import bootstrap_auc
from ranking_eval.inference.delong import compute_delong_variance
from ranking_eval.inference.holm import adjust_p_values
from ranking_eval.inference.lift import (
    FEW_USERS,
    TOO_FEW_USERS,
    ArmInfluence,
    Lift,
    Lifts,
    compute_effective_users,
    compute_lift,
    compute_p_value,
)
from ranking_eval.inference.matrix import EVERY_ROW, InfluenceMatrix, build_influence_matrix
from ranking_eval.inference.metrics import METRICS, REPORTED
from ranking_eval.inference.power import (
    compute_detectable_effect,
    compute_seeds_needed,
    compute_users_needed,
)
from ranking_eval.inference.references import compute_references
from ranking_eval.inference.rows import JudgedRows
from ranking_eval.inference.sandwich import (
    compute_auc_influence,
    compute_difference_influence,
    compute_sandwich_variance,
    compute_two_way_variance,
)
from ranking_eval.inference.training_noise import (
    MIN_FITS,
    TrainingNoise,
    load_training_noise,
    measure_training_noise,
)

__all__ = [
    "EVERY_ROW",
    "FEW_USERS",
    "METRICS",
    "MIN_FITS",
    "REPORTED",
    "TOO_FEW_USERS",
    "ArmInfluence",
    "InfluenceMatrix",
    "JudgedRows",
    "Lift",
    "Lifts",
    "TrainingNoise",
    "adjust_p_values",
    "bootstrap_auc",
    "build_influence_matrix",
    "compute_auc_influence",
    "compute_delong_variance",
    "compute_detectable_effect",
    "compute_difference_influence",
    "compute_effective_users",
    "compute_lift",
    "compute_p_value",
    "compute_references",
    "compute_sandwich_variance",
    "compute_seeds_needed",
    "compute_two_way_variance",
    "compute_users_needed",
    "load_training_noise",
    "measure_training_noise",
]
