"""Importers for the log formats people try first, and the synthetic world.

Each makes a `dataset.Dataset`: items, events and impressions that keep the
contracts of `sail_features.schemas`. `catalogue.load_dataset` finds the importer.
"""
