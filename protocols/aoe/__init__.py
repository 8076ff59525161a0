"""ATA over Ethernet targets, as AoEr11 has them."""
