"""The registry's error tree: one class per stable code; the HTTP status of each is in ``api/status.py``.

A list of classes, and therefore longer than other files.
"""

from __future__ import annotations

from adapters_registry.support.errors import CodedError, by_code, tree


class RegistryError(CodedError):
    """The root; by itself an internal defect."""


class RegistryUnavailable(RegistryError):
    """The registry does not answer; raised by the clients only."""

    code = "registry_unavailable"


class StoreOwned(RegistryError):
    """Another process owns the data directory; raised at start, not over HTTP."""

    code = "store_owned"


class KeylessRefused(RegistryError):
    """No key exists, and the request may not come from a program on the registry's machine."""

    code = "keyless_refused"


class OriginRefused(RegistryError):
    """A browser sends a request of a web page whose origin is not in the settings."""

    code = "origin_refused"


class ExtraMissing(RegistryError):
    """The settings need packages that are not installed; raised at start, not over HTTP."""

    code = "extra_missing"


class KeyNeeded(RegistryError):
    """Without a key the registry listens on loopback only; raised at start, not over HTTP."""

    code = "key_needed"


class AuditBroken(RegistryError):
    """An entry of the audit log was changed or removed."""

    code = "audit_broken"


class InvalidKey(RegistryError):
    """The key is missing or not valid."""

    code = "invalid_key"


class KeysLost(RegistryError):
    """The registry had keys, but its database has none any more, so callers cannot be authenticated."""

    code = "keys_lost"


class InsufficientScope(RegistryError):
    """The key does not have a required scope."""

    code = "insufficient_scope"


class KeyNotFound(RegistryError):
    """The key does not exist."""

    code = "key_not_found"


class LastAdminKey(RegistryError):
    """Without this key no further key could be created."""

    code = "last_admin_key"


class TenantNotFound(RegistryError):
    """The tenant does not exist."""

    code = "tenant_not_found"


class QuotaExceeded(RegistryError):
    """The tenant would exceed one of its limits."""

    code = "quota_exceeded"


class AliasProtected(RegistryError):
    """The alias moves only with the scope ``alias:write``."""

    code = "alias_protected"


class EvaluationRequired(RegistryError):
    """The version has not passed the evaluation that the alias requires."""

    code = "evaluation_required"


class InvalidValue(RegistryError):
    """A field has the wrong type or is out of bounds."""

    code = "invalid_value"


class UnknownParameter(RegistryError):
    """The request has a field that the API does not have."""

    code = "unknown_parameter"


class RouteNotFound(RegistryError):
    """The path does not exist."""

    code = "not_found"


class MethodNotAllowed(RegistryError):
    """The path does not support the method."""

    code = "method_not_allowed"


class AdapterNotFound(RegistryError):
    """The adapter does not exist."""

    code = "adapter_not_found"


class VersionNotFound(RegistryError):
    """The version does not exist."""

    code = "version_not_found"


class VersionDeleted(RegistryError):
    """The version existed and was deleted."""

    code = "version_deleted"


class AliasNotFound(RegistryError):
    """The adapter does not have this alias."""

    code = "alias_not_found"


class BaseNotFound(RegistryError):
    """The base was never announced."""

    code = "base_not_found"


class BlobNotFound(RegistryError):
    """No bytes of this digest are stored."""

    code = "blob_not_found"


class GenerationMismatch(RegistryError):
    """The alias was moved since the caller read it."""

    code = "generation_mismatch"


class GenerationRequired(RegistryError):
    """An existing alias is moved by compare-and-set only."""

    code = "generation_required"


class AliasInUse(RegistryError):
    """The version cannot be deleted while an alias points at it."""

    code = "alias_in_use"


class NoPreviousVersion(RegistryError):
    """The alias never pointed at another version that still exists."""

    code = "no_previous_version"


class BodyTooLarge(RegistryError):
    """The body exceeds the limit."""

    code = "body_too_large"


class TruncatedUpload(RegistryError):
    """The body ended before its announced length."""

    code = "truncated_upload"


class RequestTimeout(RegistryError):
    """The caller took too long to send its request."""

    code = "request_timeout"


class UploadTimeout(RegistryError):
    """The sender paused too long."""

    code = "upload_timeout"


class OffsetMismatch(RegistryError):
    """The upload continues at another offset than the sent one."""

    code = "offset_mismatch"
    offset = 0
    """Bytes that the registry has."""


class UnsupportedMediaType(RegistryError):
    """The Content-Type is not one that the route accepts."""

    code = "unsupported_media_type"


class DigestMismatch(RegistryError):
    """The bytes do not match the digest."""

    code = "digest_mismatch"


class BlobMissing(RegistryError):
    """The commit names a file whose bytes were not uploaded."""

    code = "blob_missing"


class Overloaded(RegistryError):
    """Too many requests of this kind at once; retry later."""

    code = "overloaded"


class StorageFull(RegistryError):
    """The disk is full; nothing was changed."""

    code = "storage_full"


class StorageFailed(RegistryError):
    """The disk or the database failed; nothing was changed."""

    code = "storage_failed"


class AdapterRefused(RegistryError):
    """The artifact can never be served; ``code`` says why, ``param`` names the field, tensor or module."""

    code = "adapter_refused"


class BaseNotNamed(AdapterRefused):
    """Several bases are announced, and neither the push nor the config names the adapter's base."""

    code = "base_not_named"


class BaseMismatch(AdapterRefused):
    """The config names a known base that is not served."""

    code = "base_mismatch"


class PickleRefused(AdapterRefused):
    """The only weights are in a pickle, which could run code."""

    code = "pickle_refused"


class UnknownFile(AdapterRefused):
    """A file is not part of an adapter, or is missing."""

    code = "unknown_file"


class InvalidConfig(AdapterRefused):
    """``adapter_config.json`` cannot be read or has an impossible value."""

    code = "invalid_config"


class UnsupportedField(AdapterRefused):
    """A config field requires something that is not supported."""

    code = "unsupported_field"


class InvalidTensors(AdapterRefused):
    """``adapter_model.safetensors`` is malformed or exceeds a bound."""

    code = "invalid_tensors"


class NotFinite(AdapterRefused):
    """A tensor contains NaN or infinity."""

    code = "not_finite"


class UnknownModule(AdapterRefused):
    """The adapter changes a module that the base lacks, or that cannot be adapted."""

    code = "unknown_module"


class ShapeMismatch(AdapterRefused):
    """A tensor does not fit the base's module or the config's rank."""

    code = "shape_mismatch"


class RankTooLarge(AdapterRefused):
    """The rank exceeds the limit."""

    code = "rank_too_large"


class UnexpectedTensor(AdapterRefused):
    """The file has a tensor that does not follow from the config."""

    code = "unexpected_tensor"


class MissingTensor(AdapterRefused):
    """The config names a module whose tensors are missing."""

    code = "missing_tensor"


class NotRunnable(AdapterRefused):
    """No service of the base can run what the adapter does."""

    code = "not_runnable"


class NoEffect(AdapterRefused):
    """The adapter would change nothing."""

    code = "no_effect"


class CheckFailed(AdapterRefused):
    """The check of the artifact crashed or exceeded its bounds of memory or time."""

    code = "check_failed"


class CheckUnavailable(RegistryError):
    """The check could not be completed on this machine; a retry may succeed."""

    code = "check_unavailable"


def all_errors() -> list[type[RegistryError]]:
    """Every class of the tree, root first."""
    return tree(RegistryError)


def from_code(
    code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
) -> RegistryError:
    """The error in the registry's answer; an unknown code becomes a plain ``RegistryError``."""
    return by_code(RegistryError, code, RegistryError)(message, param=param, retry_after_s=retry_after_s)
