"""A language model for tests of its suggester: its goals are named after the caption."""

import dataclasses
import json

from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
from envs.interface import Situation
from prompts import open_ended
from tests.helpers.questions import LANGUAGE


def situations(*captions):
    return [Situation(caption) for caption in captions]


def suggester_of(model, form="open", clauses_of=str.split, **options):
    """A suggester that asks the model, in a language of few words."""
    language = dataclasses.replace(LANGUAGE, clauses_of=clauses_of)
    return LanguageModelSuggester(model, form, language, **options)


class Model(LanguageModel):
    """Answers with a goal named after the caption, unless given another answer; records what it was asked."""

    description, source, name = "a model", "http://somewhere/v1", "m"

    def __init__(self, in_process=True, held=None, errors=()):
        self.in_process, self.held, self.asked = in_process, held, []
        self.errors = dict(errors)  # caption -> the answer instead

    def answer(self, prompts):
        if self.held:
            self.held.wait(5)
        captions = [open_ended.caption_of(prompt.user) for prompt in prompts]
        self.asked += captions
        return [self.errors.get(caption) or Answer(f"- do {caption}") for caption in captions]


NO_GOALS = {
    "no goals": Answer("Let me think about it:"),
    "an empty answer": LanguageModelError("no words", "empty"),
    "a refusal": LanguageModelError("would rather not", "refused"),
}


def saved(suggester):
    """Its state, as a checkpoint keeps it."""
    return json.loads(json.dumps(suggester.state_dict()))


def resumed(suggester, model, **options):
    other = suggester_of(model, **{"every": 1, **options})
    other.load_state_dict(saved(suggester))
    assert other.metrics() == suggester.metrics()
    return other
