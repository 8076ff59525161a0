"""Which machine boots what, and the story of each boot: configuration, tree, plans, timeline, command line."""
