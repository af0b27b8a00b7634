"""Rewards for transitions: ``goal_similarity`` (ELLM's), ``novelty/`` (RND, NovelD, ICM, APT), their interface ``base``."""
