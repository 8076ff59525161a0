"""One transfer's turn at the pump; nothing of it is for Python."""
