"""The ring of memory that the kernel puts frames into, and the order in which they leave it.

Nothing of it is for Python.
"""
