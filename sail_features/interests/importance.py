"""How much an event, and with it an interest, counts as time passes.

An interest's importance is the sum of exp(-rate * age) over its events, as a share of
the user's total. Shares don't change while nothing happens, because all ages grow
alike: an inactive user's interests need no update.

References
----------
PinnerSage (Pal et al., KDD 2020, arXiv 2007.03634; `match_facts.md` 2.4): importance
decays exponentially with the age of the actions. As shares, with a half-life: chosen here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sail_features.history import US_PER_DAY


def compute_recency(
    time_us: NDArray[np.int64], offsets: NDArray[np.int64], half_life_days: float
) -> NDArray[np.float32]:
    """Return each event's weight: 1 for a stretch's newest, half of it a half-life earlier.

    Parameters
    ----------
    time_us : shape (events,), oldest first in each stretch.
    offsets : shape (stretches + 1,), where each stretch begins.

    Notes
    -----
    Counted from the newest event and not from now, so that the numbers are the same to
    the last bit on the day after. Never below float32's smallest normal number:
    an event of long ago still has a direction.

    Examples
    --------
    >>> days = np.array([0, 30, 60, 5]) * US_PER_DAY
    >>> compute_recency(days, np.array([0, 3, 4]), 30.0)
    array([0.25, 0.5 , 1.  , 1.  ], dtype=float32)
    """
    counts = np.diff(offsets)
    newest = np.repeat(time_us[offsets[1:][counts > 0] - 1], counts[counts > 0])
    half_lives = (newest - time_us) / (half_life_days * US_PER_DAY)
    weight: NDArray[np.float32] = np.exp2(-np.minimum(half_lives, 126.0)).astype(np.float32)
    return weight
