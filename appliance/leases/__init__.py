"""Addresses that we give ourselves, for a network without a DHCP server: set, kept, looked at."""
