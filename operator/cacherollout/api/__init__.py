"""The contract: what users write, what they read, and the names both sides use.

Imports nothing of ours. The custom resource definitions are generated from here (`make crds`).
"""
