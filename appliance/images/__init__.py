"""The images in image/: which there are, what they were when opened, their checksums, and what is inside of them."""
