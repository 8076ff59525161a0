"""The client initramfs: its builder in Python, and in client/ the init that runs on the machine that boots."""
