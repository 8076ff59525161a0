"""Firmware's quirks as data: which machines need another offer or smaller blocks, and why."""
