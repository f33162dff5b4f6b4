"""What each arm of the ranker is trained on and served with."""

from views import (
    user_item_baseline,
    user_item_match,
    user_item_match_lagged,
    user_item_match_online,
    user_item_match_placebo,
    user_item_match_random,
)

from sail_features.feast_plugin import ranker_service

ranker_control = ranker_service(
    "ranker_control",
    [user_item_baseline],
    description="The ranker as it was: ordinary features.",
)
ranker_treatment = ranker_service(
    "ranker_treatment",
    [user_item_baseline, user_item_match],
    description="Ordinary features and the content match.",
)
if user_item_match_placebo is not None:
    ranker_placebo = ranker_service(
        "ranker_placebo",
        [user_item_baseline, user_item_match_placebo],
        description="Ordinary features and a match of permuted vectors, to lift nothing.",
    )
if user_item_match_random is not None:
    ranker_random = ranker_service(
        "ranker_random",
        [user_item_baseline, user_item_match_random],
        description="Ordinary features and a match of random vectors: what identity alone lifts.",
    )
if user_item_match_lagged is not None:
    ranker_lagged = ranker_service(
        "ranker_lagged",
        [user_item_baseline, user_item_match_lagged],
        description="Ordinary features and a match of histories cut earlier, to keep the lift.",
    )
if user_item_match_online is not None:
    ranker_online = ranker_service(
        "ranker_online",
        # Under the name that the features have in training.
        [user_item_match_online.with_name("user_item_match")],
        description="The content match of a request, computed when it is asked for.",
    )
