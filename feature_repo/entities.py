"""Whom the features describe."""

from workspace import tables

from sail_features.feast_plugin import item_entity, user_entity

item = item_entity(tables)
user = user_entity(tables)
