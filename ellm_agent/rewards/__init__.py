"""Intrinsic rewards."""

from ellm_agent.rewards.similarity import GoalSimilarity

__all__ = ["GoalSimilarity"]
