"""Goal suggesters: what is worth trying in a situation. One interface, whatever is behind it."""

from ellm_agent.goals.base import (
    FixedGoals,
    Goal,
    GoalSuggester,
    NoGoals,
    NoveltySuggester,
    OracleSuggester,
    TaskGoals,
)
from ellm_agent.goals.language_model import LanguageModelSuggester

__all__ = [
    "FixedGoals",
    "Goal",
    "GoalSuggester",
    "LanguageModelSuggester",
    "NoGoals",
    "NoveltySuggester",
    "OracleSuggester",
    "TaskGoals",
]
