"""The models store: a table of weights (`configs/models.yaml`), where they lie, and how they get there, verified."""

from curation.weights.store import ModelMissingError, ModelRefusedError, Store
from curation.weights.table import Model, load_table

__all__ = ["Model", "ModelMissingError", "ModelRefusedError", "Store", "load_table"]
