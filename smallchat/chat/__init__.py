"""Conversations, in SQLite and while they are open in memory. Knows neither engine nor screen."""
