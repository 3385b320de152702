"""CacheRollout: a change of cached data, as safe as a change of code."""

__version__ = "0.1.0"
