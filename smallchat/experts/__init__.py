"""The memory budget: which experts are in memory, and how the others get there."""
