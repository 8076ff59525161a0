"""Disks of machines' own: what each may write to, where that is kept, and who gets it."""
