"""The native node: etcd, control plane, kubelet and DNS as processes in namespaces of their own.

A node is to the host what a container is: one network namespace with one link, one mount and one
process namespace whose first process takes every other one with it, and one cgroup tree.
"""
