"""Directory listings: read in order, or one name looked up by way of the index; nothing of it is for Python."""
