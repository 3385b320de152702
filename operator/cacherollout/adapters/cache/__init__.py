"""Supervised works on the caches that CacheBackends describe, over the cache engine."""

from cacherollout.adapters.cache.rollouts import RedisCaches

__all__ = ["RedisCaches"]
