"""Machines that no configuration knows: what they register with, the group an operator or a rule puts them in."""
