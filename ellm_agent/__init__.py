"""Exploration guided by language models (ELLM), on top of Stable-Baselines3. Start at ``training.py``."""

__version__ = "0.14.0"
