"""Goal suggesters: they name goals that are worth trying in a situation. One interface for all sources."""

from ellm_agent.goals.base import (
    AllGoals,
    FixedGoals,
    Goal,
    GoalSuggester,
    NoGoals,
    OracleSuggester,
    TaskGoals,
)
from ellm_agent.goals.language_model import LanguageModelSuggester

__all__ = [
    "AllGoals",
    "FixedGoals",
    "Goal",
    "GoalSuggester",
    "LanguageModelSuggester",
    "NoGoals",
    "OracleSuggester",
    "TaskGoals",
]
