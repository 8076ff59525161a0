"""Files in memory, that the kernel copies replies from; nothing of it is for Python."""
