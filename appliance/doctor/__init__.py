"""`rootwire doctor`: what on this box or its network would keep machines from booting, each with its remedy."""
