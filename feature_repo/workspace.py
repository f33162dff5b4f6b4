"""The tables that features are declared on: those of the nearest sail.yaml."""

from pathlib import Path

from sail_features.config import find_config, load_config
from sail_features.tables import TableStore

tables = TableStore(load_config(find_config(Path(__file__).parent)).tables)
