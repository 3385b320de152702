"""The process around the core: effects in order, and everything that keeps them in order."""
