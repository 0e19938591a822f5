"""``quickchange chat`` shows its key to the service."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Header
from fastapi.responses import JSONResponse

from adapters_registry.access import new_key
from tests.adapters_registry.conftest import serving

KEY = str(new_key())


@pytest.fixture
def service() -> Iterator[str]:
    """A gateway in name only: it has one model, and lets in who shows ``KEY``."""
    app = FastAPI()

    @app.get("/v1/models")
    async def models(authorization: str = Header("")) -> JSONResponse:
        if authorization == f"Bearer {KEY}":
            return JSONResponse({"data": [{"id": "base"}]})
        error = {"message": "The API key is missing.", "type": "x", "param": None, "code": "invalid_key"}
        return JSONResponse({"error": error}, 401)

    with serving(app) as address:
        yield address


def test_chat(run, service, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    code, out, err = run("chat", "--url", service)
    assert (code, out) == (1, "")
    assert err == "quickchange: The API key is missing. (set QUICKCHANGE_API_KEY, or give --key-file)\n"
    (tmp_path / "key").write_text(KEY)
    assert run("chat", "--url", service, "--key-file", tmp_path / "key")[0] == 0
    monkeypatch.setenv("QUICKCHANGE_API_KEY", KEY)
    assert run("chat", "--url", service)[0] == 0
