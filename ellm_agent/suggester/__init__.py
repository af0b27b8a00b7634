"""The language model in the box, and how it is trained."""
