"""Counters of the pods, scraped straight from them: no metrics server needs to be installed."""
