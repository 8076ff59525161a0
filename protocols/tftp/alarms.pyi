"""The deadlines of all transfers of a pump; nothing of it is for Python."""
