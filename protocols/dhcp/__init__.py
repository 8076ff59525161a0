"""ProxyDHCP and the PXE boot server on port 4011, beside whatever DHCP server the LAN has."""
