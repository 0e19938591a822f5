"""The service's error tree: one class a stable code; the HTTP status of each is in ``api/status.py``."""

from __future__ import annotations

from adapters_registry.support.errors import CodedError, by_code, tree
from service.values import Failure


class QuickchangeError(CodedError):
    """The root: something the caller or operator must know of."""

    def __reduce__(self) -> tuple[object, ...]:
        return (from_failure, (self.failure(),))

    @property
    def reason(self) -> str | None:
        """What of the caller's key refused the request, for metrics and log, never told; None: it was not the key."""
        return None

    def failure(self) -> Failure:
        return Failure(self.code, self.message, self.param, self.retry_after_s)


class InternalError(QuickchangeError):
    """A defect of ours; the log has the trace under the request id."""


class InvalidValue(QuickchangeError):
    """A field has the wrong type or is out of bounds."""

    code = "invalid_value"


class UnknownParameter(QuickchangeError):
    """A field, or a header, that the API does not have."""

    code = "unknown_parameter"


class UnsupportedParameter(QuickchangeError):
    """A field of the OpenAI API that this service does not honour (yet)."""

    code = "unsupported_parameter"


class ContextLengthExceeded(QuickchangeError):
    """Prompt and requested tokens do not fit the base's context."""

    code = "context_length_exceeded"


class BodyTooLarge(QuickchangeError):
    """The request body is over the limit."""

    code = "body_too_large"


class UnsupportedMediaType(QuickchangeError):
    """The body is compressed, or of another type than the route takes."""

    code = "unsupported_media_type"


class OriginRefused(QuickchangeError):
    """A browser asks for a web page of an origin that the settings do not name."""

    code = "origin_refused"


class KeylessRefused(QuickchangeError):
    """There are no keys, and the request does not certainly come from a program on this machine."""

    code = "keyless_refused"

    @property
    def reason(self) -> str:
        return "keyless"


class HeadersTooLarge(QuickchangeError):
    """The request headers are over the limit."""

    code = "headers_too_large"


class RequestTimeout(QuickchangeError):
    """The client took too long to send its request."""

    code = "request_timeout"


class InvalidKey(QuickchangeError):
    """The key is missing, malformed, unknown, expired or revoked: all look the same."""

    code = "invalid_key"
    why = "unknown"

    @property
    def reason(self) -> str:
        return self.why


class InsufficientScope(QuickchangeError):
    """The key is good, but not for this."""

    code = "insufficient_scope"

    @property
    def reason(self) -> str:
        return "scope"


class KeysLost(QuickchangeError):
    """There were keys and none is known any more: nobody is let in until an operator says how to go on."""

    code = "keys_lost"

    @property
    def reason(self) -> str:
        return "lost"


class KeysStale(QuickchangeError):
    """The registry was not heard of for so long that a revoked key could still be let in: nobody is."""

    code = "keys_stale"

    @property
    def reason(self) -> str:
        return "stale"


class QuotaExceeded(QuickchangeError):
    """The key has used its quota for now; ``param`` names which. Come back later."""

    code = "quota_exceeded"

    @property
    def reason(self) -> str | None:
        return self.param


class QuotaTooSmall(QuickchangeError):
    """The request alone is more than the key's quota ever allows; ``param`` names which."""

    code = "quota_too_small"

    @property
    def reason(self) -> str | None:
        return self.param


class ModelNotFound(QuickchangeError):
    """No such model for this caller: unknown, deleted and foreign look the same."""

    code = "model_not_found"


class RouteNotFound(QuickchangeError):
    """No such path."""

    code = "not_found"


class MethodNotAllowed(QuickchangeError):
    """The path is there, but not for this method."""

    code = "method_not_allowed"


class AdapterIncompatible(QuickchangeError):
    """The adapter can never run on the served base or engine."""

    code = "adapter_incompatible"


class AdapterFailed(QuickchangeError):
    """The adapter could not be fetched or loaded now; a retry may succeed."""

    code = "adapter_failed"


class NonFiniteLogits(QuickchangeError):
    """The weights gave no finite logit for this request, or in the adapter's trial: the same request fails again."""

    code = "non_finite_logits"


class AdapterQuarantined(QuickchangeError):
    """Requests of the adapter's owner failed by its weights: this replica does not run it for a while."""

    code = "adapter_quarantined"


class Overloaded(QuickchangeError):
    """No room in the queue; come back later."""

    code = "overloaded"


class DeadlineExceeded(QuickchangeError):
    """The request's time ran out before it finished."""

    code = "deadline_exceeded"


class ReplicaFailed(QuickchangeError):
    """The engine replica that ran the request went away."""

    code = "replica_failed"


class NotReady(QuickchangeError):
    """The base model is not loaded yet, or no replica answers."""

    code = "not_ready"


class BaseUnavailable(QuickchangeError):
    """The base model cannot be found, fetched or served; raised at start, not over HTTP."""

    code = "base_unavailable"


class ResponseNotFound(QuickchangeError):
    """Feedback names a response that this caller has not had: unknown, forgotten and foreign look the same."""

    code = "response_not_found"


class IdempotencyConflict(QuickchangeError):
    """The idempotency key was used before, for something else."""

    code = "idempotency_conflict"


class StorageFull(QuickchangeError):
    """The disk or its quota has no room: nothing was kept, and nothing was lost."""

    code = "storage_full"


class StorageFailed(QuickchangeError):
    """The disk failed, or what it holds is damaged; the log names the file."""

    code = "storage_failed"


class StorageInUse(QuickchangeError):
    """Another process owns the feedback log, and this one waits until it lets go."""

    code = "storage_in_use"


def all_errors() -> list[type[QuickchangeError]]:
    """Every class of the tree, root first."""
    return tree(QuickchangeError)


def from_failure(failure: Failure) -> QuickchangeError:
    """The exception that ``failure`` was made from; an unknown code becomes an ``InternalError``."""
    cls = by_code(QuickchangeError, failure.code, InternalError)
    return cls(failure.message, param=failure.param, retry_after_s=failure.retry_after_s)
