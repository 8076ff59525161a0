"""Replies to ATA commands as C, made from the frames they answer. Nothing of it is for Python."""
