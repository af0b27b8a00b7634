"""A small language, and questions to a real server, for tests of the client."""

from ellm_agent.llm.client import OpenAIModel
from envs.interface import Example, Language
from prompts import closed_form, open_ended

CAPTION = "You see grass, tree."
LANGUAGE = Language(
    vocabulary=("",),
    to_sentence=" ".join,
    goals=("chop tree", "drink water"),
    verbs=("chop", "drink"),
    briefing="You advise a player.",
    examples=(Example("You see water.", ("drink water",)),),
)
OPEN = open_ended.prompt(CAPTION, LANGUAGE)
CLOSED = [closed_form.prompt(CAPTION, goal, LANGUAGE) for goal in ("chop tree", "eat cow")]
KEY = "sk-very-secret"


def ask(url, prompt=OPEN, **options):
    """A single question to a model of its own."""
    model = OpenAIModel("m", url, **options)
    (answer,) = model.answer([prompt])
    return answer, model
