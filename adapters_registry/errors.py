"""The registry's error tree: one class per stable code; the HTTP status of each is in ``api/status.py``.

A list of classes, and therefore longer than other files.
"""

from __future__ import annotations

from adapters_registry.support.errors import CodedError, by_code, tree


class RegistryError(CodedError):
    """The root; itself a defect of ours."""


class RegistryUnavailable(RegistryError):
    """The registry does not answer; raised by the clients only."""

    code = "registry_unavailable"


class StoreOwned(RegistryError):
    """Another process owns the data directory; raised at start, not over HTTP."""

    code = "store_owned"


class KeylessRefused(RegistryError):
    """There are no keys, and the request does not certainly come from a program on the registry's machine."""

    code = "keyless_refused"


class OriginRefused(RegistryError):
    """A browser asks for a web page of an origin that the settings do not name."""

    code = "origin_refused"


class ExtraMissing(RegistryError):
    """What the settings ask for needs packages that are not installed; raised at start, not over HTTP."""

    code = "extra_missing"


class KeyNeeded(RegistryError):
    """Without a key the registry is for this machine only; raised at start, not over HTTP."""

    code = "key_needed"


class AuditBroken(RegistryError):
    """The audit is not what was written."""

    code = "audit_broken"


class InvalidKey(RegistryError):
    """No key, or none that is valid."""

    code = "invalid_key"


class KeysLost(RegistryError):
    """There were keys and the database holds none any more: nobody can be told from anybody."""

    code = "keys_lost"


class InsufficientScope(RegistryError):
    """The key may not do this."""

    code = "insufficient_scope"


class KeyNotFound(RegistryError):
    """No such key."""

    code = "key_not_found"


class LastAdminKey(RegistryError):
    """Without this key nobody could make another one."""

    code = "last_admin_key"


class TenantNotFound(RegistryError):
    """No such tenant."""

    code = "tenant_not_found"


class QuotaExceeded(RegistryError):
    """The tenant would hold more than it may."""

    code = "quota_exceeded"


class AliasProtected(RegistryError):
    """The alias moves only with the scope ``alias:write``."""

    code = "alias_protected"


class EvaluationRequired(RegistryError):
    """The version has not passed what the alias requires."""

    code = "evaluation_required"


class InvalidValue(RegistryError):
    """A field has the wrong type or is out of bounds."""

    code = "invalid_value"


class UnknownParameter(RegistryError):
    """A field that the API does not have."""

    code = "unknown_parameter"


class RouteNotFound(RegistryError):
    """No such path."""

    code = "not_found"


class MethodNotAllowed(RegistryError):
    """The path exists, the method does not."""

    code = "method_not_allowed"


class AdapterNotFound(RegistryError):
    """No such adapter."""

    code = "adapter_not_found"


class VersionNotFound(RegistryError):
    """No such version."""

    code = "version_not_found"


class VersionDeleted(RegistryError):
    """The version existed and was deleted."""

    code = "version_deleted"


class AliasNotFound(RegistryError):
    """The adapter has no such alias."""

    code = "alias_not_found"


class BaseNotFound(RegistryError):
    """No such base was announced."""

    code = "base_not_found"


class BlobNotFound(RegistryError):
    """No bytes of this digest are stored."""

    code = "blob_not_found"


class GenerationMismatch(RegistryError):
    """The alias moved since the caller looked."""

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
    """The body is over the limit."""

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
    """The upload goes on elsewhere than the sender thinks."""

    code = "offset_mismatch"
    offset = 0
    """Bytes that the registry has."""


class UnsupportedMediaType(RegistryError):
    """The body is not what its Content-Type must say."""

    code = "unsupported_media_type"


class DigestMismatch(RegistryError):
    """The bytes are not those that the digest names."""

    code = "digest_mismatch"


class BlobMissing(RegistryError):
    """The commit names a file whose bytes were not uploaded."""

    code = "blob_missing"


class Overloaded(RegistryError):
    """Too many requests of this kind at once; come back later."""

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
    """Several bases are announced, and neither the push nor the config says which one the adapter is for."""

    code = "base_not_named"


class BaseMismatch(AdapterRefused):
    """The config names another known base than the one that is served."""

    code = "base_mismatch"


class PickleRefused(AdapterRefused):
    """The weights come as a pickle only, which could run code."""

    code = "pickle_refused"


class UnknownFile(AdapterRefused):
    """A file that is not part of an adapter, or one that is missing."""

    code = "unknown_file"


class InvalidConfig(AdapterRefused):
    """``adapter_config.json`` cannot be read or has an impossible value."""

    code = "invalid_config"


class UnsupportedField(AdapterRefused):
    """A config field asks for something that is not honoured."""

    code = "unsupported_field"


class InvalidTensors(AdapterRefused):
    """``adapter_model.safetensors`` is malformed or over a bound."""

    code = "invalid_tensors"


class NotFinite(AdapterRefused):
    """A tensor holds NaN or infinity."""

    code = "not_finite"


class UnknownModule(AdapterRefused):
    """The adapter changes a module that the base lacks, or that cannot be adapted."""

    code = "unknown_module"


class ShapeMismatch(AdapterRefused):
    """A tensor does not fit the base's module or the config's rank."""

    code = "shape_mismatch"


class RankTooLarge(AdapterRefused):
    """The rank is over the limit."""

    code = "rank_too_large"


class UnexpectedTensor(AdapterRefused):
    """A tensor that the config does not account for."""

    code = "unexpected_tensor"


class MissingTensor(AdapterRefused):
    """The config names a module whose tensors are not there."""

    code = "missing_tensor"


class NotRunnable(AdapterRefused):
    """No service of the base can run what the adapter does."""

    code = "not_runnable"


class NoEffect(AdapterRefused):
    """The adapter would change nothing."""

    code = "no_effect"


class CheckFailed(AdapterRefused):
    """The check of the artifact crashed or went over its bounds of memory or time."""

    code = "check_failed"


class CheckUnavailable(RegistryError):
    """The check could not be run to its end on this machine; it may go well later."""

    code = "check_unavailable"


def all_errors() -> list[type[RegistryError]]:
    """Every class of the tree, root first."""
    return tree(RegistryError)


def from_code(
    code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
) -> RegistryError:
    """The error in the registry's answer; an unknown code becomes a plain ``RegistryError``."""
    return by_code(RegistryError, code, RegistryError)(message, param=param, retry_after_s=retry_after_s)
