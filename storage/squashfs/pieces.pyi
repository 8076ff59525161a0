"""The bytes of many files of an image, one file after the other; `Squashfs.read_files` is how Python gets at it."""
