"""Language models: an OpenAI-compatible endpoint, the model in the box, a cache, and a script for tests."""
