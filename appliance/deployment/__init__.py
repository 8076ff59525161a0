"""What in an image boots: its kernel and initramfs, of which kind that is, and the kernel command line for it."""
