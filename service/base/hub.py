"""Downloads a base from the Hub: safetensors, JSON and tokenizer files only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from service.errors import BaseUnavailable

# No pickle and no Python file is downloaded. Subdirectories have other formats of the same weights.
ALLOWED = ["*.safetensors", "*.json", "*.model", "*.jinja", "*.tiktoken", "merges.txt", "vocab.txt"]
IGNORED = ["*/*", "consolidated*", "adapter_*"]


def fetch_from_hub(base: str, cache_dir: Path, report: Callable[[str], None]) -> Path:
    """The snapshot directory of ``base``; from the cache if the Hub does not answer."""
    # Imported here, because it takes half a second and only this path needs it.
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    report(f"Fetching {base} from the Hub")
    try:
        path = snapshot_download(base, cache_dir=cache_dir / "hub", allow_patterns=ALLOWED, ignore_patterns=IGNORED)
    except GatedRepoError as error:
        raise BaseUnavailable(
            f"{base} is gated on the Hub: accept its terms there and set HF_TOKEN to a token that may read."
        ) from error
    except RepositoryNotFoundError as error:
        raise BaseUnavailable(
            f"{base} is neither a local directory nor a public model on the Hub. "
            "Check the spelling; a private model needs HF_TOKEN."
        ) from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise BaseUnavailable(_unreachable(base, error)) from error
    return Path(path)


def _unreachable(base: str, error: Exception) -> str:
    reason = str(error).strip().split("\n")[0] or type(error).__name__
    return (
        f"{base} is not a local directory and cannot be fetched from the Hub ({reason}). Give --base a local "
        "checkpoint directory, or run once with a network so that it is in the cache directory."
    )
