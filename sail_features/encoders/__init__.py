"""Encoders turn an item's content into a unit vector.

`protocol` says what an encoder is and `pipeline` drives it: batches under a budget,
prepares ahead, survives bad rows. `hashing` needs no weights; `transformer_text`,
`vision` and `audio` run Hugging Face checkpoints (`checkpoints`) on a device and in a
dtype (`devices`) that are chosen with a reason. `catalogue` builds the one that
``sail.yaml`` names. Importing this package loads no torch.
"""
