"""The packet sockets of a pump: one whose frames come by a ring, one by which replies go out by the batch.

Nothing of it is for Python.
"""
