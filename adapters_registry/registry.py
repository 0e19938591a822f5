"""The registry: its verbs join bytes and rows, blobs first, row last."""

from __future__ import annotations

from adapters_registry.verbs.adapters import AdapterVerbs
from adapters_registry.verbs.aliases import AliasVerbs
from adapters_registry.verbs.bases import BaseVerbs
from adapters_registry.verbs.collection import CollectionVerbs
from adapters_registry.verbs.tenants import TenantVerbs
from adapters_registry.verbs.uploads import UploadVerbs
from adapters_registry.verbs.versions import Origin, VersionVerbs
from adapters_registry.verbs.watch import WatchVerbs

__all__ = ["Origin", "Registry"]


class Registry(
    BaseVerbs, UploadVerbs, VersionVerbs, AdapterVerbs, AliasVerbs, TenantVerbs, CollectionVerbs, WatchVerbs
):
    """All verbs on adapters, versions, aliases, keys and bases."""
