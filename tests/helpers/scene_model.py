"""A language model for tests of what asks one: its goals are named after the scene."""

import json

from ellm_agent.goals import LanguageModelSuggester
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from envs.interface import Situation
from prompts import open_ended


def situations(*captions):
    return [Situation(caption, ()) for caption in captions]


class Model(LanguageModel):
    """Answers with a goal named after the scene, unless told otherwise; keeps what it was asked."""

    description, source, name = "a model", "http://somewhere/v1", "m"

    def __init__(self, immediate=True, held=None, errors=()):
        self.immediate, self.held, self.asked = immediate, held, []
        self.errors = dict(errors)  # scene -> what is told instead

    def answer(self, prompts):
        if self.held:
            self.held.wait(5)
        scenes = [open_ended.caption_of(prompt.user) for prompt in prompts]
        self.asked += scenes
        return [self.errors.get(scene) or Answer(f"- do {scene}") for scene in scenes]


NO_GOALS = {
    "no goals": Answer("Let me think about it:"),
    "an empty answer": LanguageModelError("no words", "empty"),
    "a refusal": LanguageModelError("would rather not", "refused"),
}


def resumed(suggester, model, **options):
    other = LanguageModelSuggester(model, "open", facts=str.split, every=1, **options)
    other.restore(json.loads(json.dumps(suggester.state())))
    assert other.metrics() == suggester.metrics()
    return other
