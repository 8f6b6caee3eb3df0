"""The store: finished runs as records, one file each, with what was measured beside them."""

from pat.study.store.stores import AnyStore, Published, Store, open_store

__all__ = ["AnyStore", "Published", "Store", "open_store"]
