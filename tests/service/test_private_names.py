"""What the service uses of Ray, torch and transformers that is not theirs to keep: each name, where, and its shape.

A release of theirs beyond the upper bounds of the extra `serve` is let in once this passes with it.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest
import ray
import torch
from packaging.requirements import Requirement
from packaging.version import Version
from ray._private import worker
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import node_manager_pb2, node_manager_pb2_grpc
from ray.serve._private import replica
from ray.serve.request_router import PendingRequest, RequestRouter
from transformers import modeling_gguf_pytorch_utils

from service.process.cluster import environment
from service.process.spare import PRELOAD
from service.settings import Settings

ROOT = Path(__file__).parents[2]
BOUND = ("ray", "torch", "transformers")
DIRECTORY = Path(ray.__file__).parent


@dataclass(frozen=True, slots=True)
class Private:
    """A name, the one file that uses it, and what it must be."""

    name: str
    file: str
    found: Callable[[], object]
    shape: object


def parameters(function: Callable[..., object]) -> str:
    return ", ".join(inspect.signature(function).parameters)


def schema(name: str) -> str:
    return str(getattr(torch.ops.mkldnn, name).default._schema)


TABLE = [
    Private(
        "ray._private.grpc_utils.init_grpc_channel",
        "service/process/spare.py",
        lambda: parameters(init_grpc_channel),
        "address, options, asynchronous, credentials",
    ),
    Private(
        "ray.core.generated.node_manager_pb2",
        "service/process/spare.py",
        lambda: {field.name for field in node_manager_pb2.PrestartWorkersRequest.DESCRIPTOR.fields},
        {"language", "job_id", "runtime_env_info", "keep_alive_duration_secs", "num_workers"},
    ),
    Private(
        "ray.core.generated.node_manager_pb2_grpc",
        "service/process/spare.py",
        lambda: "PrestartWorkers" in inspect.getsource(node_manager_pb2_grpc.NodeManagerServiceStub),
        True,
    ),
    Private(
        "ray.serve._private.replica",
        "service/serve/gateway.py",
        lambda: parameters(replica.start_asgi_http_server),  # replaced by service/serve/listener.py
        "app, http_options, event_loop, enable_so_reuseport",
    ),
    Private(
        "__serve_build_asgi_app__",
        "service/serve/gateway.py",
        lambda: "__serve_build_asgi_app__" in inspect.getsource(replica),
        True,
    ),
    Private(
        "ray.serve._private.replica",
        "service/serve/warm.py",
        lambda: find_spec("ray.serve._private.replica") is not None,
        True,
    ),
    Private(
        "ray._private.worker",
        "service/serve/warm.py",
        lambda: {name for name in ("connected", "actor_id") if hasattr(worker.global_worker, name)},
        {"connected", "actor_id"},
    ),
    Private(
        "_temp_dir",
        "service/process/cluster.py",
        lambda: '"_temp_dir"' in inspect.getsource(worker.init),
        True,
    ),
    Private(
        "torch.ops.mkldnn._reorder_linear_weight",
        "service/engine/linear.py",
        lambda: schema("_reorder_linear_weight"),
        "mkldnn::_reorder_linear_weight(Tensor self, int? batch_size=None) -> Tensor Y",
    ),
    Private(
        "torch.ops.mkldnn._linear_pointwise",
        "service/engine/linear.py",
        lambda: schema("_linear_pointwise"),
        "mkldnn::_linear_pointwise(Tensor X, Tensor W, Tensor? B, str attr, Scalar?[] scalars, str? algorithm)"
        " -> Tensor Y",
    ),
    Private(
        "torch.ops.mkldnn._is_mkldnn_bf16_supported",
        "service/engine/linear.py",
        lambda: schema("_is_mkldnn_bf16_supported"),
        "mkldnn::_is_mkldnn_bf16_supported() -> bool _0",
    ),
    Private(
        "transformers.modeling_gguf_pytorch_utils",
        "service/base/bundled.py",
        lambda: callable(modeling_gguf_pytorch_utils.tqdm),  # replaced while a GGUF is read
        True,
    ),
]


@pytest.mark.parametrize("private", TABLE, ids=lambda private: f"{Path(private.file).stem}:{private.name}")
def test_each_is_there_and_has_its_shape(private: Private) -> None:
    assert private.found() == private.shape


def test_the_table_has_all_of_them() -> None:
    used = {
        (name, str(path.relative_to(ROOT))) for path in (ROOT / "service").rglob("*.py") for name in _private(path)
    }
    assert used == {(private.name, private.file) for private in TABLE}


def test_the_router_overrides_what_serve_calls() -> None:
    """Public by name, but Serve's documentation does not promise them."""
    for method, takes in {
        "choose_replicas": "self, candidate_replicas, pending_request",
        "update_replicas": "self, replicas",
        "on_replica_actor_died": "self, replica_id",
        "on_request_routed": "self, pending_request, replica_id, result",
    }.items():
        assert parameters(getattr(RequestRouter, method)) == takes
    assert isinstance(RequestRouter.replica_queue_len_cache, property)
    assert {"args", "metadata", "routing_context"} <= set(PendingRequest.__dataclass_fields__)


def test_ray_reads_each_variable_that_is_set_for_it() -> None:
    """A variable that a release of Ray does not know any more would be ignored without a word."""
    texts = [path.read_bytes() for path in _that_read_variables()]
    for name in (environment(Settings()) | PRELOAD).keys() - {"OMP_NUM_THREADS", "PYTHONFAULTHANDLER"}:
        # Ray's C++ adds the prefix itself.
        assert any(part.encode() in text for part in (name, name.removeprefix("RAY_")) for text in texts), name


def test_each_has_an_upper_bound_that_admits_what_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    serve = {needed.name: needed for needed in map(Requirement, project["optional-dependencies"]["serve"])}
    for name in BOUND:
        tested = Version(metadata.version(name))
        following = Version(f"{tested.major}.{tested.minor + 1}")
        assert serve[name].specifier.contains(tested)
        assert not serve[name].specifier.contains(following), f"{name} {following} has not been looked at"


def _that_read_variables() -> Iterator[Path]:
    yield from (DIRECTORY / "serve").rglob("*.py")
    yield from (DIRECTORY / "_private").rglob("*.py")
    yield from (DIRECTORY / "_common").rglob("*.py")
    yield from (DIRECTORY / "_raylet.so", DIRECTORY / "core" / "src" / "ray" / "raylet" / "raylet")


def _private(path: Path) -> Iterator[str]:
    """The private names of ``BOUND`` in a file: imports, attributes, texts of module names, arguments, hooks."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = dict[str, str]()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name.partition(".")[0]: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    theirs = {short: whole for short, whole in names.items() if whole.partition(".")[0] in BOUND}
    yield from {whole for whole in theirs.values() if _is_private(whole)}
    found = set[str]()
    for node in nodes:
        if isinstance(node, ast.Attribute) and (chain := ast.unparse(node)).partition(".")[0] in theirs:
            if re.search(r"\._[a-z]\w*$", chain):
                found.add(chain)
        elif isinstance(node, ast.Constant) and re.fullmatch(r"(ray|torch|transformers)(\.\w+)+", str(node.value)):
            found |= {str(node.value)} if _is_private(str(node.value)) else set()
        elif isinstance(node, ast.keyword) and (node.arg or "").startswith("_"):
            found |= {str(node.arg)} if {"ray"} & theirs.keys() else set()
        elif isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef) and node.name.startswith("__serve"):
            found.add(node.name)
    yield from found


def _is_private(name: str) -> bool:
    return re.search(r"\._[a-z]|\.core\.generated\b|\.modeling_gguf_pytorch_utils$", name) is not None
