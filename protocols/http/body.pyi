"""One response's body on its way from an image to a socket; nothing of it is for Python."""
