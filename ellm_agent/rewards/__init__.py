"""Intrinsic rewards: for goals in language, and for novelty."""

from ellm_agent.rewards.goal_similarity import GoalSimilarity
from ellm_agent.rewards.novelty.apt import APT
from ellm_agent.rewards.novelty.base import Bonus
from ellm_agent.rewards.novelty.icm import ICM
from ellm_agent.rewards.novelty.noveld import NovelD
from ellm_agent.rewards.novelty.rnd import RND

BONUSES: dict[str, type[Bonus]] = {"rnd": RND, "noveld": NovelD, "icm": ICM, "apt": APT}

__all__ = ["APT", "BONUSES", "ICM", "RND", "Bonus", "GoalSimilarity", "NovelD"]
