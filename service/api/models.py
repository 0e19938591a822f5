"""``/v1/models``: the base and the adapters that the caller may name."""

from __future__ import annotations

from adapters_registry.access import Principal
from service.access.directory import Listed, Name
from service.access.names import parse_model
from service.api.front import Front
from service.api.query import page_size
from service.errors import InvalidValue

PAGE = 1000
"""Default and maximum number of entries of a page."""


class Models:
    """Renders the catalog. An entry's ``parent`` is the base, its ``root`` the name of the version."""

    def __init__(self, front: Front, started_s: int) -> None:
        self._front = front
        self._started_s = started_s

    def list(self, principal: Principal, after: str | None = None, limit: str | None = None) -> dict[str, object]:
        """The base, then one entry for each adapter with a production version that the base can run, by name.

        At most ``limit`` entries after the id ``after``. Raises ``InvalidValue``.
        """
        most, start = page_size(limit, PAGE, PAGE), self._name(after)
        data = [self._base()] if start is None else []
        listed = self._front.catalog.list_models(principal, start, most - len(data) + 1)
        data += [self._adapter(f"{one.ref.tenant}/{one.ref.name}", one) for one in listed]
        return {"object": "list", "data": data[:most], "has_more": len(data) > most}

    def _name(self, after: str | None) -> Name | None:
        """The name after which a page begins, which may be deleted; None: begin with the base."""
        if after is None:
            return None
        if after == self._front.backend.served.name:
            return ("", "")
        tenant, slash, name = after.partition("/")
        if not slash:
            raise InvalidValue("after: must be the last id of an earlier page", param="after")
        return tenant, name

    def retrieve(self, model: str, principal: Principal) -> dict[str, object]:
        """The entry of any name that a request may use. Raises the same errors as a request with it."""
        name = parse_model(model, self._front.backend.served.name)
        if name is None:
            return self._base()
        return self._adapter(model, self._front.catalog.find(name, principal))

    def _base(self) -> dict[str, object]:
        name = self._front.backend.served.name
        return {
            "id": name,
            "object": "model",
            "created": self._started_s,
            "owned_by": "quickchange",
            "parent": None,
            "root": name,
            "max_model_len": self._front.backend.served.context_tokens,
        }

    def _adapter(self, model: str, listed: Listed) -> dict[str, object]:
        return {
            "id": model,
            "object": "model",
            "created": listed.created_s,
            "owned_by": listed.ref.tenant,
            "parent": self._front.backend.served.name,
            "root": str(listed.ref),
            "max_model_len": self._front.backend.served.context_tokens,
        }
