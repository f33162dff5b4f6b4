"""Whether a ranker is served what it was trained on: logged features against recomputed ones.

The idea is that of Chronon's consistency job (Airbnb): keep what was served, compute the
same features point-in-time in batch, and report the difference of each. Here is what needs
no Feast; `sail_features.feast_plugin.skew` reads the features of the batch side.
"""

from sail_features.skew.compare import FeatureSkew, compare_feature
from sail_features.skew.report import Limits, SkewReport
from sail_features.skew.served_log import LogError, ServedLog, read_served_log
from sail_features.skew.stability import Stability, stability_index

__all__ = [
    "FeatureSkew",
    "Limits",
    "LogError",
    "ServedLog",
    "SkewReport",
    "Stability",
    "compare_feature",
    "read_served_log",
    "stability_index",
]
