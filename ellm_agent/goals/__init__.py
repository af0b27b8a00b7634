"""Goal suggesters: what is worth trying in a situation. One interface, whatever is behind it."""

from ellm_agent.goals.base import Goal, GoalSuggester, NoGoals, NoveltySuggester, OracleSuggester
from ellm_agent.goals.language import LanguageModelSuggester

__all__ = [
    "Goal",
    "GoalSuggester",
    "LanguageModelSuggester",
    "NoGoals",
    "NoveltySuggester",
    "OracleSuggester",
]
