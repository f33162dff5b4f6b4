"""The name of every column that more than one file knows, written once.

The words are those of Feast and of the ranking literature, so that a column
means the same in a Spark job, a feature view and a training frame.
"""

# Who, what, when.
USER_ID = "user_id"
ITEM_ID = "item_id"
REQUEST_ID = "request_id"
EVENT_TIMESTAMP = "event_timestamp"
"""When a row holds from. For a window: its exclusive end."""

# When a row could first have been known, and when a job wrote it.
AVAILABLE_AT = "available_at"
"""The later of the content's time and of what its encoder was trained until."""
CREATED = "created"
"""Wall clock of the job that first wrote the row; lineage only."""
FEATURE_TIME = "feature_time"
"""Time of the newest event that entered a row's features; null where none did."""

FEATURES_AVAILABLE_AT = "features_available_at"
"""``available_at`` once more, as a feature: Feast can't return its created column."""

# Items.
TITLE = "title"
TEXT = "text"
CATEGORY = "category"
PRICE = "price"
TAGS = "tags"
IMAGE_PATH = "image_path"
AUDIO_PATH = "audio_path"

# Events and impressions.
EVENT_TYPE = "event_type"
WEIGHT = "weight"
"""Signed feedback: above 0 liked, below 0 disliked, 0 seen without a verdict."""
LABEL = "label"
POSITION = "position"
PROPENSITY = "propensity"
NEGATIVE_SOURCE = "negative_source"
"""Where a label-0 impression comes from: ``logged``, ``popularity``, ``uniform``."""

# Embeddings.
EMBEDDING = "embedding"
"""One vector as little-endian float16 bytes."""
DIM = "dim"
ENCODER_ID = "encoder_id"
CONTENT_HASH = "content_hash"

# Histories.
HISTORY_ITEM_IDS = "history_item_ids"
HISTORY_TIMES = "history_times"
"""Microseconds since 1970-01-01 UTC, oldest first."""
HISTORY_WEIGHTS = "history_weights"

# Interests, the most important first.
INTEREST_VECTORS = "interest_vectors"
"""All unit vectors of a user, end to end, as little-endian float16 bytes."""
INTEREST_WEIGHTS = "interest_weights"
"""Shares of the user's decayed importance; they sum to 1."""
INTEREST_MEDOIDS = "interest_medoids"
"""The item that stands for each interest."""
INTEREST_SIZES = "interest_sizes"
INTEREST_TIMES = "interest_times"
"""Time of each interest's newest event, in microseconds since 1970-01-01 UTC."""
INTEREST_FEEDBACK = "interest_feedback"
"""Mean signed feedback of the events nearest to each interest; NaN where there are none."""

# Histograms over global clusters, at two levels, each sorted by cluster.
PRIMARY_CLUSTERS = "primary_clusters"
PRIMARY_COUNTS = "primary_counts"
PRIMARY_WEIGHTS = "primary_weights"
"""Shares of the user's decayed likes; they sum to 1 at each level."""
PRIMARY_TIMES = "primary_times"
"""Time of each cluster's newest like, in microseconds since 1970-01-01 UTC."""
SECONDARY_CLUSTERS = "secondary_clusters"
SECONDARY_COUNTS = "secondary_counts"
SECONDARY_WEIGHTS = "secondary_weights"
SECONDARY_TIMES = "secondary_times"
LONG_TAIL_CLUSTERS = "long_tail_clusters"
"""The secondary clusters that few like and this user likes repeatedly."""
CLUSTER_VERSION = "cluster_version"

# Pairs of items that behaviour mines, and what an importer may keep of an event for them.
OTHER_ITEM_ID = "other_item_id"
PAIR_SOURCE = "pair_source"
SUPPORT = "support"
"""How many users a pair rests on."""
STRENGTH = "strength"
"""Users of both items over the geometric mean of each one's, 0 to 1."""
SESSION_ID = "session_id"
SEARCH_QUERY = "search_query"

# Match and baseline features.
FEATURE_SET_ID = "feature_set_id"
"""Versions and fitted parameters of the features in a row."""

PAIR = (USER_ID, ITEM_ID, EVENT_TIMESTAMP)
"""Which user, which item, as of when: the key of match and baseline features."""

# Quarantine.
REASON = "reason"
