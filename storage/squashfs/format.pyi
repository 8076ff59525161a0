"""squashfs 4.0 on disk: the superblock and the fixed parts of the fourteen inode types; nothing of it is for Python."""
