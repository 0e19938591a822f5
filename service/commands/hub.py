"""An adapter's folder from a Hub id. Only its configuration and its safetensors file are downloaded."""

from __future__ import annotations

import re
from pathlib import Path

from adapters_registry.errors import UnknownFile
from adapters_registry.folder import CONFIG, WEIGHTS

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_hub_id(source: str) -> bool:
    """Whether ``source`` has the form ``owner/name`` and is not a folder of this machine."""
    return _ID.fullmatch(source) is not None and not Path(source).exists()


def fetch_adapter(id: str, cache_dir: Path) -> Path:
    """The snapshot's directory, named by its commit; raises ``UnknownFile`` if it cannot be downloaded."""
    # Imported here, because the import is slow and only this path needs it.
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        return Path(snapshot_download(id, cache_dir=cache_dir / "hub", allow_patterns=[CONFIG, WEIGHTS]))
    except GatedRepoError as error:
        raise UnknownFile(
            f"{id} is gated on the Hub: accept its terms there and set HF_TOKEN to a token that may read.",
            param="dir",
        ) from error
    except RepositoryNotFoundError as error:
        raise UnknownFile(
            f"{id} is neither a folder here nor a public adapter on the Hub: check the spelling; a private one needs "
            "HF_TOKEN.",
            param="dir",
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UnknownFile(
            f"{id} is no folder here and cannot be fetched from the Hub ({reason}): give a folder, or push again "
            "with a network.",
            param="dir",
        ) from error
