"""Rewards for transitions: ``goal_similarity`` (ELLM's) and how rare goals are worth more (``rarity``), ``novelty/`` (RND,
NovelD, ICM, APT), ``preference`` (learned from comparisons), and their interface ``base``.
"""
