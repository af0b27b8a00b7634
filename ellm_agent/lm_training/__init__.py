"""Making a suggester: a corpus from a world's advice, supervised fine-tuning, and measurements."""
