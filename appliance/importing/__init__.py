"""Taking what KIWI builds into the boot tree: read, recognised, verified, put in its place all at once."""
