"""An open image: its superblock, its caches, and how metadata and tables are read; nothing of it is for Python."""
