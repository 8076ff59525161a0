"""The demo boot tree: a kernel, the client initramfs and a Debian root, made from Debian's own packages."""
