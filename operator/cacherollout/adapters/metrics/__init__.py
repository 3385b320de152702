"""Counters of the pods, scraped straight from them: no metrics server needs to be installed."""

from cacherollout.adapters.metrics.pods import PodMetrics

__all__ = ["PodMetrics"]
