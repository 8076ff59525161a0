"""Windows of DATA on their way to a client's socket; nothing of it is for Python."""
