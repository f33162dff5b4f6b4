"""Our tables as plain Feast objects, and the store that serves them.

`feature_repo/` is written with these factories; a training or serving job opens
the store with `open_feature_store` and goes on with Feast's own methods. This is
the only package that imports Feast, which takes about four CPU seconds.

Known gaps, which the stored tables must allow for: a view sees every partition,
superseded ones too, and reads those it was declared on (the factories refuse both);
with Feast's own stores the created column can't be a feature, and one named ``*_y``
is lost. `stores` has the offline stores, `engine` what materializes computed views
(`encoded_view`), `doctor` what tells good ones from others.
"""

from sail_features.feast_plugin.entities import item_entity, user_entity
from sail_features.feast_plugin.feature_log import feature_log
from sail_features.feast_plugin.on_demand_match import on_demand_match_view, warm_up
from sail_features.feast_plugin.store import apply_repo, materialize, open_feature_store
from sail_features.feast_plugin.views import (
    baseline_view,
    item_embedding_view,
    match_control_view,
    match_view,
    ranker_service,
    user_cluster_view,
    user_history_view,
    user_interest_view,
)

__all__ = [
    "apply_repo",
    "baseline_view",
    "feature_log",
    "item_embedding_view",
    "item_entity",
    "match_control_view",
    "match_view",
    "materialize",
    "on_demand_match_view",
    "open_feature_store",
    "ranker_service",
    "user_cluster_view",
    "user_entity",
    "user_history_view",
    "user_interest_view",
    "warm_up",
]
