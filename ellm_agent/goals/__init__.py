"""Goal suggesters: they name goals that are worth trying in a situation. One interface for all sources."""
