"""Language models: an OpenAI-compatible endpoint, or the offline script that stands in for one."""
