"""One frame's answer; nothing of it is for Python."""
