"""Addresses given by ourselves: which there are, who has them and until when. No sockets, no files, no clock."""
