"""Judges an item embedding by what it finds, one measure a file; needs no torch.

`evaluate_embedding` computes all of them from vectors and `EvaluationTasks`, and
`show_change` prints two results side by side, such as before and after a training stage.
"""

from sail_features.training.evaluation.evaluate import (
    EvaluationTasks,
    evaluate_embedding,
    show_change,
)
from sail_features.training.evaluation.pair_recall import ItemPairs, SearchPairs

__all__ = ["EvaluationTasks", "ItemPairs", "SearchPairs", "evaluate_embedding", "show_change"]
