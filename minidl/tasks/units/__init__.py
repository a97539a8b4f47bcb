"""What the units of a network have seen: projections, and what they point at."""
