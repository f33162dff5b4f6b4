"""The match features of a user and the items that are about to be ranked, as a Feast view.

Feast keeps the source text of the view's function in its registry and makes the function
from it again in every process that serves. So the text below holds all that it needs: an
import, and the definition of the batch table as JSON.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from feast import FeatureView, Field, OnDemandFeatureView, RequestSource
from feast.transformation.udf_rehydrate import rehydrate_udf_from_source
from feast.types import Float32, Int64

from sail_features import columns as c
from sail_features.errors import InputError
from sail_features.feast_plugin.match_definition import MatchDefinition
from sail_features.feast_plugin.match_server import HISTORY, INTERESTS, REQUESTED_AT
from sail_features.feast_plugin.store import open_feature_store
from sail_features.feast_plugin.versions import version_tags
from sail_features.feast_plugin.views import OWNER
from sail_features.match.family import columns_of
from sail_features.schemas import USER_ITEM_MATCH
from sail_features.tables import TableStore

NAME: Final = "user_item_match_online"
SOURCE: Final = """\
def compute_match(request):
    from sail_features.feast_plugin.match_server import match_server

    found = match_server({definition!r}).answer(request)
    return found | {{f"{served_as}__{{name}}": values for name, values in found.items()}}
"""


def on_demand_match_view(
    tables: TableStore,
    user_history: FeatureView,
    item_embedding: FeatureView,
    user_interest: FeatureView | None = None,
) -> OnDemandFeatureView | None:
    """Return the features of ``user_item_match``, computed when they are asked for.

    Features, histogram edges, window, lag and encoder are those of the newest partition of
    ``user_item_match``, with its ``feature_set_id``: a ranker trained on the one is served
    by the other. In a service, use ``.with_name("user_item_match")``: then the names are
    those of training, with ``full_feature_names`` too.

    Parameters
    ----------
    user_history, user_interest : hold what the features look back on.
    item_embedding : makes ``item_id`` a key of the request.

    Returns
    -------
    The view, or None where the partition doesn't say what it was computed with.

    Raises
    ------
    MissingTableError
        No match is computed yet.
    InputError
        The partition's features aren't those of this version, or its interests are missing
        or another encoder's, or the items' vectors are.
    ConfigError
        Features that need types of events.

    Notes
    -----
    A request has ``user_id``, ``item_id`` and ``requested_at``: the impression's time in
    microseconds since 1970 UTC, as in ``history_times``; null stands for the server's
    clock. Feast refuses a request without the field. A row is matched as of
    ``requested_at`` less the lag, and sees what is strictly before that.

    Answers have the bits of the batch job's for the same state. An item without a vector
    gets nulls. A user without a history gets nulls, and counts of 0, as in batch.

    The state differs from batch where ``user_history`` does. It holds the newest
    ``max_events`` in [its ``as_of`` - lookback, ``as_of``): later events are missing until
    the next one is materialised. For a moment before ``as_of``, no later event is seen,
    but earlier ones may be missing: those pushed out by later ones, and those before
    ``as_of`` - lookback. Interests are those of the newest row of ``user_interest``; they
    are seen from just after their newest event, in batch from the row's own time. Vectors
    and categories are the newest, in batch those of before the partition's ``as_of``.
    """
    definition = MatchDefinition.of_newest(tables)
    if definition is None:
        return None
    _check_encoder(item_embedding, definition)
    sources = [user_history[list(HISTORY)], item_embedding[[c.CONTENT_HASH]]]
    if definition.interest_dim is not None:
        if user_interest is None:
            raise InputError.say(
                NAME, "matches interests", hint="give the view of user_interest, too"
            )
        sources.append(user_interest[list(INTERESTS)])
    asked = RequestSource(
        name="match_request",
        schema=[Field(name=REQUESTED_AT, dtype=Int64)],
        description="When the items are shown: microseconds since 1970 UTC; null: now.",
    )
    text = SOURCE.format(definition=definition.model_dump_json(), served_as=USER_ITEM_MATCH.name)
    return OnDemandFeatureView(
        name=NAME,
        sources=[*sources, asked],
        schema=[Field(name=name, dtype=Float32) for name in columns_of(definition.features)],
        mode="python",
        udf=rehydrate_udf_from_source(text),
        udf_string=text,
        description="Similarities of items to the user's history, as in user_item_match.",
        owner=OWNER,
        tags=_tags(definition),
    )


def warm_up(repo: Path | str) -> None:
    """Open the item vectors and load the compiled kernel, before the first request.

    `feast serve` does it by ``static_artifacts.py`` in the repository; other processes that
    serve call it once.

    Parameters
    ----------
    repo : folder with ``feature_store.yaml``, applied before.
    """
    for view in open_feature_store(repo).list_on_demand_feature_views():
        if view.tags.get("stands_for") == USER_ITEM_MATCH.name:
            view.infer_features()


def _check_encoder(item_embedding: FeatureView, definition: MatchDefinition) -> None:
    """Raise where items have vectors of another encoder than the match was computed with."""
    found = item_embedding.tags.get(c.ENCODER_ID, definition.encoder_id)
    if found != definition.encoder_id:
        raise InputError.say(
            f"view {item_embedding.name!r}",
            f"is by encoder {found}, user_item_match by {definition.encoder_id}",
            hint="run `sail-features interests` and `sail-features match` again",
        )


def _tags(definition: MatchDefinition) -> dict[str, str]:
    window = definition.history
    return {
        "stands_for": USER_ITEM_MATCH.name,
        c.FEATURE_SET_ID: definition.feature_set_id,
        c.ENCODER_ID: definition.encoder_id,
        "lookback_days": str(window.lookback_days),
        "max_events": str(window.max_events),
        "lag_s": str(window.lag_s),
        **version_tags(),
    }
