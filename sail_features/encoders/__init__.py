"""Encoders turn an item's content into a unit vector.

`protocol` says what an encoder is; `hashing` needs no weights; `transformer_text`
runs any Hugging Face text model; `catalogue` builds the one that ``sail.yaml``
names. Importing this package loads no torch.
"""
