"""How long to wait before sending again, for the native pump; nothing of it is for Python."""
