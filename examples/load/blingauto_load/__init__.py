"""Open-loop load for the Blingauto API, and what its users saw. Runs beside it, in a pod."""
