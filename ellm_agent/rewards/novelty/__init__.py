"""Rewards for novelty: RND, NovelD, ICM, APT. Each is one file beside this one."""
