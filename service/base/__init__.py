"""The frozen base model: found or converted, named, digested, loaded and described to the registry.

Only ``load_model`` and ``describe_base`` need torch. They import it when called, so the command line starts fast.
"""

from service.base.bundled import find_bundled
from service.base.describe import decoder_layers, describe_base, describe_model
from service.base.digest import base_digest
from service.base.load import load_model
from service.base.prepare import PreparedBase, prepare_base, served_name

__all__ = [
    "PreparedBase",
    "base_digest",
    "decoder_layers",
    "describe_base",
    "describe_model",
    "find_bundled",
    "load_model",
    "prepare_base",
    "served_name",
]
