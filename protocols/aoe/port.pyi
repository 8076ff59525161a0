"""The packet sockets of a pump: frames in by a ring that the kernel fills, replies out by the batch.

Nothing of it is for Python.
"""
