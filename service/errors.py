"""The service's error tree: one class per stable code; the HTTP status of each is in ``api/status.py``."""

from __future__ import annotations

from adapters_registry.support.errors import CodedError, by_code, tree
from service.values import Failure


class QuickchangeError(CodedError):
    """The root: an error that the caller or operator gets."""

    def __reduce__(self) -> tuple[object, ...]:
        return (from_failure, (self.failure(),))

    @property
    def reason(self) -> str | None:
        """Why the caller's key was refused, for metrics and log, never sent; None: not because of the key."""
        return None

    def failure(self) -> Failure:
        return Failure(self.code, self.message, self.param, self.retry_after_s)


class InternalError(QuickchangeError):
    """A defect of the service; its trace is in the log under the request id."""


class InvalidValue(QuickchangeError):
    """A field has the wrong type or is out of bounds."""

    code = "invalid_value"


class UnknownParameter(QuickchangeError):
    """A field, or a header, that the API does not have."""

    code = "unknown_parameter"


class UnsupportedParameter(QuickchangeError):
    """A field of a known API that this service does not support."""

    code = "unsupported_parameter"


class ContextLengthExceeded(QuickchangeError):
    """The prompt and the requested tokens do not fit into the base's context."""

    code = "context_length_exceeded"


class BodyTooLarge(QuickchangeError):
    """The request body exceeds the limit."""

    code = "body_too_large"


class UnsupportedMediaType(QuickchangeError):
    """The body is compressed, or its type is not one that the route accepts."""

    code = "unsupported_media_type"


class OriginRefused(QuickchangeError):
    """A browser sends a request of a web page whose origin is not in the settings."""

    code = "origin_refused"


class KeylessRefused(QuickchangeError):
    """No key exists, and the request may not come from a program on this machine."""

    code = "keyless_refused"

    @property
    def reason(self) -> str:
        return "keyless"


class HeadersTooLarge(QuickchangeError):
    """The request headers exceed the limit."""

    code = "headers_too_large"


class RequestTimeout(QuickchangeError):
    """The client took too long to send its request."""

    code = "request_timeout"


class InvalidKey(QuickchangeError):
    """The key is missing, malformed, unknown, expired or revoked; the answer is the same for all."""

    code = "invalid_key"
    why = "unknown"

    @property
    def reason(self) -> str:
        return self.why


class InsufficientScope(QuickchangeError):
    """The key is valid but does not have a required scope."""

    code = "insufficient_scope"

    @property
    def reason(self) -> str:
        return "scope"


class KeysLost(QuickchangeError):
    """Keys existed and none is known any more. All requests are refused until an operator intervenes."""

    code = "keys_lost"

    @property
    def reason(self) -> str:
        return "lost"


class KeysStale(QuickchangeError):
    """The last contact with the registry is too long ago: keys may be revoked, so all are refused."""

    code = "keys_stale"

    @property
    def reason(self) -> str:
        return "stale"


class QuotaExceeded(QuickchangeError):
    """The key has used up a quota, named by ``param``; retry later."""

    code = "quota_exceeded"

    @property
    def reason(self) -> str | None:
        return self.param


class QuotaTooSmall(QuickchangeError):
    """The request alone exceeds the key's quota, named by ``param``; a retry cannot succeed."""

    code = "quota_too_small"

    @property
    def reason(self) -> str | None:
        return self.param


class ModelNotFound(QuickchangeError):
    """The caller has no such model; the answer is the same for unknown, deleted and other tenants' models."""

    code = "model_not_found"


class RouteNotFound(QuickchangeError):
    """The path does not exist."""

    code = "not_found"


class MethodNotAllowed(QuickchangeError):
    """The path does not support the method."""

    code = "method_not_allowed"


class AdapterIncompatible(QuickchangeError):
    """The adapter can never run on the served base or engine."""

    code = "adapter_incompatible"


class AdapterFailed(QuickchangeError):
    """The adapter could not be fetched or loaded now; a retry may succeed."""

    code = "adapter_failed"


class NonFiniteLogits(QuickchangeError):
    """The weights gave no finite logit for this request, or in the adapter's trial; a retry fails again."""

    code = "non_finite_logits"


class AdapterQuarantined(QuickchangeError):
    """Requests of the adapter's owner failed because of its weights; this replica does not run it for some time."""

    code = "adapter_quarantined"


class Overloaded(QuickchangeError):
    """The queue is full; retry later."""

    code = "overloaded"


class DeadlineExceeded(QuickchangeError):
    """The request did not finish before its deadline."""

    code = "deadline_exceeded"


class ReplicaFailed(QuickchangeError):
    """The replica that ran the request ended."""

    code = "replica_failed"


class NotReady(QuickchangeError):
    """The base model is not loaded yet, or no replica answers."""

    code = "not_ready"


class BaseUnavailable(QuickchangeError):
    """The base model cannot be found, fetched or served; raised at start, not over HTTP."""

    code = "base_unavailable"


class ResponseNotFound(QuickchangeError):
    """Feedback names a response that is unknown, no longer stored, or another tenant's; the answer is the same."""

    code = "response_not_found"


class IdempotencyConflict(QuickchangeError):
    """The idempotency key was used before for other feedback."""

    code = "idempotency_conflict"


class StorageFull(QuickchangeError):
    """The disk or its quota is full; nothing was stored, and nothing was lost."""

    code = "storage_full"


class StorageFailed(QuickchangeError):
    """The disk failed, or stored data is damaged; the log names the file."""

    code = "storage_failed"


class StorageInUse(QuickchangeError):
    """Another process owns the feedback log, and this one waits until it is released."""

    code = "storage_in_use"


def all_errors() -> list[type[QuickchangeError]]:
    """Every class of the tree, root first."""
    return tree(QuickchangeError)


def from_failure(failure: Failure) -> QuickchangeError:
    """The exception for ``failure``; an unknown code becomes an ``InternalError``."""
    cls = by_code(QuickchangeError, failure.code, InternalError)
    return cls(failure.message, param=failure.param, retry_after_s=failure.retry_after_s)
