"""A real Kubernetes to prove the operator on: a given one, kind, or a native node.

Purpose: `python3 -m cluster up` gives a working cluster on any Linux machine, and everything after it
is the same whichever provider made it. Pure standard library, so that it runs on a bare Debian; not
part of the wheel. It must know nothing of the operator beyond the table of images it builds.
"""
