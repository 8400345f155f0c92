"""The models store: a table of weights (`configs/models.yaml`), where they lie, and how they get there, verified."""

from curation.models.store import ModelMissing, ModelRefused, Store
from curation.models.table import Model, load_table

__all__ = ["Model", "ModelMissing", "ModelRefused", "Store", "load_table"]
