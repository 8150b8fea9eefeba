"""The model store: what is in ``/model``, and how it gets there."""

from headrace.models.commands import list_models, open_store, pull, verify
from headrace.models.demo import CHAT, EMBEDDING
from headrace.models.store import Model, Store

__all__ = ["CHAT", "EMBEDDING", "Model", "Store", "list_models", "open_store", "pull", "verify"]
