"""The traps of KIWI's netboot configurations: one function each, by what they are about."""
