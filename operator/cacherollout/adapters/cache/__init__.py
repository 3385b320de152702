"""Supervised works on the caches that CacheBackends describe, over the cache engine."""
