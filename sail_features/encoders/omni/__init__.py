"""The SAIL encoder: one vector of an item's text, images and sound.

Frozen towers read the media, adapters and a resampler bring what they give to one size,
a bidirectional transformer (the trunk) mixes it, and the mean of its tokens is the vector.
`settings` says how large, `batch` and `inputs` what a step reads, `model` computes,
`folder` saves and loads, `encoder` serves it like any other encoder. The architecture is
that of arXiv 2510.12709, section 3; what the paper leaves open is marked "chosen here".
Importing this package loads no torch.
"""
