"""What is known of an item, of a user, and of an item shown to a user."""

from entities import item, user
from workspace import tables

from sail_features.feast_plugin import (
    baseline_view,
    item_embedding_view,
    match_control_view,
    match_view,
    on_demand_match_view,
    user_cluster_view,
    user_history_view,
    user_interest_view,
)

item_embedding = item_embedding_view(tables, item)
user_history = user_history_view(tables, user)
user_interest = user_interest_view(tables, user)
user_cluster = user_cluster_view(tables, user)
user_item_baseline = baseline_view(tables, user, item)
user_item_match = match_view(tables, user, item)
user_item_match_placebo = match_control_view("placebo", tables, user, item)
user_item_match_random = match_control_view("random", tables, user, item)
user_item_match_lagged = match_control_view("lagged", tables, user, item)
user_item_match_online = on_demand_match_view(tables, user_history, item_embedding, user_interest)
