"""What a release would do, before it is started: the core's own rules on a simulated cluster.

A fluid model stands in for cache and load (`popularity`, `layers`, `stores`), a small one for the
Deployment (`clusters`); `releases` lets the very functions that decide in the operator decide over
them, `schedules` is what people do without it, `comparisons` both side by side.
"""
