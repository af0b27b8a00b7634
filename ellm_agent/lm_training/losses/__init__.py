"""Losses of methods that train language models from feedback: pure functions, each with its equation and source."""
