"""Intrinsic rewards: for goals in language, and for novelty."""

from ellm_agent.rewards.bonus import Bonus
from ellm_agent.rewards.icm import APT, ICM
from ellm_agent.rewards.rnd import RND, NovelD
from ellm_agent.rewards.similarity import GoalSimilarity

BONUSES: dict[str, type[Bonus]] = {"rnd": RND, "noveld": NovelD, "icm": ICM, "apt": APT}

__all__ = ["APT", "BONUSES", "ICM", "RND", "Bonus", "GoalSimilarity", "NovelD"]
