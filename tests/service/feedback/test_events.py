"""Records of responses as they lie on the disk."""

from __future__ import annotations

import json

import pytest

from service.feedback.events import Adapter, ResponseRecord
from tests.service.feedback.examples import OTHER, SUPPORT, response


@pytest.mark.parametrize("adapter", [SUPPORT, None])
def test_one_adapter_is_written_as_earlier_releases_did(adapter: Adapter | None) -> None:
    record = response("r1", adapter=adapter)
    written = json.loads(record.model_dump_json())
    assert "adapters" not in written
    assert written["adapter"] == (None if adapter is None else adapter.model_dump(mode="json"))
    assert ResponseRecord.model_validate_json(record.model_dump_json()) == record


def test_several_adapters_are_read_back_in_order_and_have_one_digest() -> None:
    both = response("r1").model_copy(update={"adapters": (SUPPORT, OTHER)})
    read = ResponseRecord.model_validate_json(both.model_dump_json())
    assert read.adapters == (SUPPORT, OTHER)
    digests = {read.digest, SUPPORT.digest, OTHER.digest, read.base_digest}
    assert len(digests) == 4
