"""Every metric of the service: the names, what the gateway counts, and the exposition of the whole fleet."""

from service.metrics.exposition import exposition
from service.metrics.gateway import GatewayMetrics

__all__ = ["GatewayMetrics", "exposition"]
