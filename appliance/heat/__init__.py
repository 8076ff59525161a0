"""What boots read of their roots: recorded, kept, shown, and fetched ahead for the next machine."""
