"""The boot timeline: what every protocol saw of a machine, as the stages of its boots, and when that is too slow."""
