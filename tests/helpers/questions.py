"""Questions to a real server, for tests of the client."""

from ellm_agent.llm.client import OpenAIModel
from prompts import closed_form, open_ended

CAPTION = "You see grass, tree."


OPEN = open_ended.prompt(CAPTION, ("chop", "drink"))


CLOSED = [closed_form.prompt(CAPTION, goal) for goal in ("chop tree", "eat cow")]


KEY = "sk-very-secret"


def ask(url, prompt=OPEN, **options):
    """A single question to a model of its own."""
    model = OpenAIModel("m", url, **options)
    (answer,) = model.answer([prompt])
    return answer, model
