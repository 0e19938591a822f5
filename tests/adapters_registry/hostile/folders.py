"""Artifacts whose files are wrong as such: pickles, strangers, hostile names, sizes."""

from __future__ import annotations

import io
import pickle
import zipfile

from adapters_registry.folder import CONFIG, WEIGHTS
from tests.adapters_registry import artifacts
from tests.adapters_registry.hostile.case import A0, LIMITS, MIB, Case, Files, Sparse, config_bytes, container, folder

_PICKLE = "adapter_model.bin"


def _code() -> bytes:
    """A pickle that would run a command."""
    return b"\x80\x02cposix\nsystem\nq\x00X\x05\x00\x00\x00falseq\x01\x85q\x02Rq\x03."


def _zip_bomb() -> bytes:
    """As torch.save writes archives, 8 MiB of zeros in 8 KiB."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"lora_A": [0.0]}))
        archive.writestr("archive/data/0", b"\0" * (8 * MIB))
    return packed.getvalue()


def _only(*names: str) -> Files:
    return tuple((name, config_bytes() if name == CONFIG else _code()) for name in names)


def _beside(name: str) -> Files:
    return (*folder(), (name, b"print('hello')"))


def _called(name: str) -> Files:
    """A good adapter whose config comes under this path."""
    return ((name, config_bytes()), folder()[1])


FOLDERS = (
    Case("weights only as a pickle", "pickle_refused", _PICKLE, lambda: _only(CONFIG, _PICKLE)),
    Case("weights only as a checkpoint", "pickle_refused", "adapter.ckpt", lambda: _only(CONFIG, "adapter.ckpt")),
    Case("a pickle next to the weights", "unknown_file", _PICKLE, lambda: _beside(_PICKLE)),
    Case("a pickle named safetensors", "pickle_refused", WEIGHTS, lambda: folder(weights=_code())),
    Case("a zip bomb named safetensors", "pickle_refused", WEIGHTS, lambda: folder(weights=_zip_bomb())),
    Case(
        "a Git LFS pointer",
        "invalid_tensors",
        WEIGHTS,
        lambda: folder(weights=b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"),
    ),
    Case("no weights", "unknown_file", WEIGHTS, lambda: _only(CONFIG)),
    Case("no configuration", "unknown_file", CONFIG, lambda: folder()[1:]),
    Case("no files", "unknown_file", CONFIG, lambda: ()),
    Case("code next to the weights", "unknown_file", "modeling.py", lambda: _beside("modeling.py")),
    Case("a chat template", "unknown_file", "chat_template.jinja", lambda: _beside("chat_template.jinja")),
    Case("the configuration twice", "invalid_value", "files", lambda: (*folder(), folder()[0])),
    Case(
        "a configuration file with capitals in its name",
        "unknown_file",
        "Adapter_Config.json",
        lambda: _called("Adapter_Config.json"),
    ),
    Case("a path with `..`", "invalid_value", "path", lambda: _called("../../adapter_config.json")),
    Case("an absolute path", "invalid_value", "path", lambda: _called("/etc/passwd")),
    Case("a path with backslashes", "invalid_value", "path", lambda: _called("..\\adapter_config.json")),
    Case("a path with a folder", "invalid_value", "path", lambda: _called("adapter_config.json/x")),
    Case("a NUL character in a path", "invalid_value", "path", lambda: _called("adapter_config.json\0.bin")),
    Case("a path that ends with a line feed", "invalid_value", "path", lambda: _called("adapter_config.json\n")),
    Case("a Cyrillic letter in a path", "invalid_value", "path", lambda: _called("аdapter_config.json")),
    Case("a right-to-left override in a path", "invalid_value", "path", lambda: _called("adapter_config\u202enosj.")),
    Case("an empty path", "invalid_value", "path", lambda: _called("")),
    Case("a path of 100,000 characters", "invalid_value", "path", lambda: _called("a" * 100_000)),
    Case("an empty configuration", "invalid_config", CONFIG, lambda: folder(config=b"")),
    Case("empty weights", "invalid_tensors", "header", lambda: folder(weights=b"")),
    Case(
        "a configuration above the size limit",
        "body_too_large",
        CONFIG,
        lambda: folder(config=config_bytes() + b" " * LIMITS.config_bytes),
    ),
    Case(
        "weights above the size limit",
        "body_too_large",
        WEIGHTS,
        lambda: folder(weights=Sparse(artifacts.pack(artifacts.tensors()), LIMITS.upload_bytes + 1)),
    ),
    Case("a header without tensors", "missing_tensor", A0, lambda: folder(weights=container({}))),
)
