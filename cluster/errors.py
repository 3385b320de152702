"""The one exception a person sees, worded so that the next step is in the message."""


class ClusterError(Exception):
    """Something the reader can act on: names the thing that failed and the fix."""
