"""Headers of an upload: which bytes of the whole the body contains.

As in the IETF draft "Resumable Uploads for HTTP" (draft-ietf-httpbis-resumable-upload):

    PUT                                          all bytes from 0; with Upload-Complete: ?0 only the first ones
    HEAD                                         how many are stored: Upload-Offset, Upload-Complete
    PATCH application/partial-upload             the bytes from Upload-Offset; Upload-Complete: ?1 if the last
    Upload-Length                                total bytes, if the sender knows
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from adapters_registry.errors import BodyTooLarge, InvalidValue, UnsupportedMediaType

PARTIAL_TYPE = "application/partial-upload"
_BOOLEANS = {"?0": False, "?1": True}


@dataclass(frozen=True, slots=True)
class Part:
    """The body of one request. All counts are bytes."""

    begins: bool
    """The body starts at offset 0 and replaces earlier bytes."""
    offset: int
    complete: bool
    """The body contains the last bytes of the upload."""
    length: int | None
    """Length of the whole upload."""
    announced: int | None
    """Length of this body."""


def beginning(request: Request, limit: int) -> Part:
    """From the headers of a PUT; raises ``InvalidValue`` or ``BodyTooLarge``."""
    if _count(request, "Upload-Offset", limit):
        raise InvalidValue("A PUT begins at 0: continue an upload by PATCH.", param="Upload-Offset")
    complete = _flag(request)
    return _part(request, limit, begins=True, offset=0, complete=complete is not False)


def continuation(request: Request, limit: int) -> Part:
    """From the headers of a PATCH; raises ``InvalidValue``, ``UnsupportedMediaType`` or ``BodyTooLarge``."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != PARTIAL_TYPE:
        raise UnsupportedMediaType(f"PATCH an upload with Content-Type: {PARTIAL_TYPE}.", param="Content-Type")
    offset, complete = _count(request, "Upload-Offset", limit), _flag(request)
    if offset is None:
        raise InvalidValue("Upload-Offset: say where the bytes belong; HEAD tells.", param="Upload-Offset")
    if complete is None:
        raise InvalidValue("Upload-Complete: ?1 if these are the last bytes, else ?0.", param="Upload-Complete")
    return _part(request, limit, begins=False, offset=offset, complete=complete)


def flag(value: bool) -> str:
    """A boolean of HTTP structured fields."""
    return "?1" if value else "?0"


def too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"A file has at most {limit} bytes (limits.upload_bytes).")


def _part(request: Request, limit: int, *, begins: bool, offset: int, complete: bool) -> Part:
    length, announced = (_count(request, name, limit) for name in ("Upload-Length", "Content-Length"))
    end = offset + (announced or 0)
    if end > limit:
        raise too_large(limit)
    if length is not None and (end > length or (complete and announced is not None and end != length)):
        raise InvalidValue(f"These bytes end at {end}, the upload at {length}.", param="Upload-Length")
    return Part(begins, offset, complete, length, announced)


def _count(request: Request, name: str, limit: int) -> int | None:
    text = request.headers.get(name)
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,15}", text) is None:
        raise InvalidValue(f"{name} is not a number of bytes.", param=name)
    if int(text) > limit:
        raise too_large(limit)
    return int(text)


def _flag(request: Request) -> bool | None:
    text = request.headers.get("upload-complete")
    if text is None:
        return None
    if text not in _BOOLEANS:
        raise InvalidValue("Upload-Complete is ?1 or ?0.", param="Upload-Complete")
    return _BOOLEANS[text]
