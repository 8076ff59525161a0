"""The line in which transfers wait for their turns; nothing of it is for Python."""
