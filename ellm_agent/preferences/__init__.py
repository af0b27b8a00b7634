"""Teaching a reward by comparisons: clips of what an agent does, which pairs to ask about, who judges, and the page."""
