"""HTTP over the same tree as TFTP, for loaders, firmware and KIWI clients."""
