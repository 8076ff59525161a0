"""One noun, Image: bytes that can be read at any offset, from any thread; layers stack on the same operations."""
