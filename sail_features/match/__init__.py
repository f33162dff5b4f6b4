"""Match features: what a user's past says about the item in front of them.

`block` holds the similarities of target items to history items; each feature
file turns a block into columns; `kernel` makes the blocks for any number of
impressions; `family` lists the features.
"""
