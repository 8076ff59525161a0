"""ARP, only listened to: a machine's first sign of life, and which address it has."""
