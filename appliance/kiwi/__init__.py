"""KIWI's netboot clients: what they read, told apart from what an operator meant, and the text made for them."""
