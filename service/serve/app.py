"""Builds the Ray Serve application. The only file that names concrete classes.

serve run service.serve.app:application        (the settings come from ``QUICKCHANGE_*`` variables)
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ray import serve
from ray.serve.config import RequestRouterConfig

from service.access.marks import key_mark, registry_name
from service.dispatch.dispatcher import DRAIN_S
from service.serve.gateway import Gateway, OpenHttp
from service.serve.parts import Parts
from service.serve.recorder import Recorder
from service.serve.replica import EngineReplica
from service.settings import Settings
from service.support.logs import GATEWAY, open_logs
from service.values import ServedBase

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from adapters_registry.client import AsyncRegistryClient
    from adapters_registry.manifest import BaseManifest
    from service.api.front import Backend

logger = logging.getLogger(__name__)

HEALTH_PERIOD_S = 0.5
"""Interval of health checks, and so the time until a dead process is detected."""
HEALTH_TIMEOUT_S = 10.0
ANNOUNCE_S = 15.0
"""Interval of announcements of the base, because the registry may have restarted without data."""
ANNOUNCE_RETRY_S = 2.0
CONSTRUCTOR_TRIES = 2
UNBOUNDED = 1_000_000
"""Disables Serve's own bounds on requests; ``limits.in_flight`` and ``engine.waiting`` apply instead."""
ON_HEAD = {"node:__internal_head__": 0.001}
"""Places a deployment on Ray's head node, which always exists and never changes. The recorder's data directory is on
this node; on other nodes it would be lost when the recorder is restarted elsewhere."""


def build(
    settings: Settings, open_parts: Callable[[Settings], Parts] | None = None, open_http: OpenHttp | None = None
) -> serve.Application:
    """One gateway over ``settings.replicas`` engine replicas, and one recorder if feedback is on.

    Tests pass other parts.
    """
    engine = _deployment(
        EngineReplica,
        num_replicas=settings.replicas,
        ray_actor_options=_actor(num_gpus=1 if settings.device == "cuda" else 0),
        request_router_config=RequestRouterConfig(request_router_class="service.dispatch.router.DigestRouter"),
    ).bind(settings, open_parts or _open_parts)
    recorder = None
    if settings.feedback.enabled:
        recorder = _deployment(Recorder, ray_actor_options=_actor(resources=ON_HEAD)).bind(settings)
    return _deployment(Gateway).bind(settings, engine, open_http or _open_http, recorder)


def _deployment(kind: type, **options: Any) -> serve.Deployment:
    """Common options: no bounds by Serve, frequent health checks, time to drain."""
    common = {
        "max_ongoing_requests": UNBOUNDED,
        "max_constructor_retry_count": CONSTRUCTOR_TRIES,
        "ray_actor_options": _actor(),
        "health_check_period_s": HEALTH_PERIOD_S,
        "health_check_timeout_s": HEALTH_TIMEOUT_S,
        "graceful_shutdown_wait_loop_s": 0.2,
        "graceful_shutdown_timeout_s": DRAIN_S,
    }
    return serve.deployment(kind, **(common | options))


def _actor(**options: Any) -> dict[str, Any]:
    """Reserves no CPUs, because replicas on one machine share the cores by their thread counts."""
    return {"num_cpus": 0, **options}


def application(args: dict[str, str]) -> serve.Application:
    """The entry for ``serve run`` and Serve config files."""
    return build(Settings.model_validate(args))


def _open_http(settings: Settings, backend: Backend) -> ASGIApp:
    """The gateway's HTTP application."""
    from prometheus_client import CollectorRegistry
    from transformers import AutoTokenizer

    from adapters_registry.client import AsyncRegistryClient
    from service.access.catalog import Catalog
    from service.access.ledger import FileLedger
    from service.api.front import Front
    from service.api.routes import create_app
    from service.metrics import GatewayMetrics

    open_logs(settings.log_level, settings.logs, GATEWAY)
    served = backend.served
    client = AsyncRegistryClient(settings.registry, key=settings.registry_bearer)
    catalog = Catalog(client, _catalog_file(settings, served), served.digest, key_mark(settings))
    tokenizer = AutoTokenizer.from_pretrained(served.path)
    metrics = GatewayMetrics(CollectorRegistry(), settings.metrics)
    ledger = FileLedger(_ledger_directory(settings), settings.keys.gateways)
    app = create_app(Front(settings, catalog, tokenizer, backend, metrics, ledger))
    gc.freeze()  # otherwise a collection during a large body would examine all modules and block for 0.1 s
    return app


def _catalog_file(settings: Settings, served: ServedBase) -> Path:
    """The file of the catalog, named by registry and base, so that a file of another registry is never used."""
    key = hashlib.sha256(f"{registry_name(settings)}\0{served.digest}".encode()).hexdigest()
    return settings.cache_dir / "catalog" / f"{key}.json"


def _ledger_directory(settings: Settings) -> Path:
    """The ledger's directory, named by the gateway's address: gateways on one machine count separately."""
    return settings.cache_dir / "quotas" / f"{quote(settings.host, safe='')}-{settings.port}"


def _open_parts(settings: Settings) -> Parts:
    """Opens an engine over the real base. Takes seconds to minutes, so do not call it on an event loop."""
    import torch

    from adapters_registry.client import AsyncRegistryClient, RegistryClient
    from service.adapters.cache import SlabCache
    from service.adapters.loader import SlabLoader
    from service.adapters.source import RegistrySource
    from service.adapters.store import AdapterStore
    from service.adapters.trial import TriedLoader
    from service.base import describe_base, load_model, prepare_base
    from service.engine.load import load_engine
    from service.engine.loop import EngineLoop
    from service.engine.trial import Trials
    from service.support.threads import share_the_lock

    open_logs(settings.log_level, settings.logs, "replica")
    share_the_lock()
    torch.set_num_threads(_threads(settings))
    base = prepare_base(settings, logger.info)
    model = load_model(base.path, dtype=settings.dtype, device=settings.device)
    manifest = describe_base(base.path, base.name, model, settings.cache_dir)
    kernels = settings.cache_dir / "kernels"
    engine = load_engine(model, settings.engine, name=base.name, base_digest=manifest.digest, cache_dir=kernels)
    source = RegistrySource(RegistryClient(settings.registry, key=settings.registry_bearer))
    slabs = SlabCache(settings.cache_dir / "slabs", settings.adapters.disk_bytes)
    loader = SlabLoader(source, slabs, manifest, engine)
    trials = Trials()
    announced = manifest.model_copy(update={"runs": tuple(sorted(engine.backend.capabilities))})
    served = ServedBase(base.name, manifest.digest, str(base.path), engine.context_tokens, engine.vocab_size)
    return Parts(
        served,
        AdapterStore(TriedLoader(loader, trials.run), settings.adapters),
        partial(EngineLoop, engine, trials=trials),
        partial(_announce, AsyncRegistryClient(settings.registry, key=settings.registry_bearer), announced),
        lambda: slabs.nbytes,
    )


def _threads(settings: Settings) -> int:
    """Compute threads of one replica: the setting, or an equal share of the available cores."""
    cores = len(os.sched_getaffinity(0))
    return settings.engine.threads or max(1, cores // settings.replicas)


async def _announce(client: AsyncRegistryClient, base: BaseManifest) -> None:
    """Announce the base to the registry periodically, so that uploads can be checked against it."""
    from adapters_registry.errors import RegistryError

    announced = False
    while True:
        try:
            await client.put_base(base)
        except RegistryError as error:
            if announced:
                logger.warning("registry does not answer", extra={"error": str(error)})
            announced = False
            await asyncio.sleep(ANNOUNCE_RETRY_S)
        else:
            announced = True
            await asyncio.sleep(ANNOUNCE_S)
