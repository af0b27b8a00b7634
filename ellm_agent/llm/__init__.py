"""Language models: an OpenAI-compatible endpoint, the bundled model, recorded answers, and a script."""
