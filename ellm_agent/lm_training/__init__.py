"""Training suggesting language models: on a corpus from a world's advice (SFT), or from what agents achieve of their
suggestions (reward model, PPO, ILQL); and measurements.
"""
