"""Makers of parts, by kind: the only package, with ``build.py``, that names concrete suggesters, rewards and agents."""
