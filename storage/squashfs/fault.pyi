"""What went wrong in an image, from where it is seen without the GIL to the exception; nothing of it is for Python."""
