"""Every route of the registry, one file per family."""

from adapters_registry.api.routes import (
    adapters,
    aliases,
    bases,
    blobs,
    feed,
    keys,
    operations,
    tenants,
    uploads,
    versions,
)

FAMILIES = (adapters, versions, aliases, uploads, blobs, bases, feed, keys, tenants, operations)
"""Modules that each have a ``router``."""
