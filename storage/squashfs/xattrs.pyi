"""Extended attributes of one inode; nothing of it is for Python."""
