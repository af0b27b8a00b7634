"""Asks a language model one question, and shows the prompt, the answer, and the goals that training would read."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.config import files as config_files
from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.base import LanguageModelError, Prompt
from ellm_agent.terminal import escape_control
from envs import registry
from prompts import closed_form, open_ended

LONGEST_LINE = 200  # characters shown of a dropped line


@dataclass(frozen=True)
class Options:
    caption: str = "You see grass, tree. You are targeting tree."
    """Caption of a state, in the words in which language models are told it."""
    world: str = "crafter"
    """World whose briefing, examples and verbs are in the prompt."""
    goal: str | None = None
    """Closed form: the goal to ask about; or the statement, such as "apple in kitchen fridge", in worlds that have these."""
    suggester: Annotated[SuggesterConfig, tyro.conf.arg(name="")] = field(default_factory=SuggesterConfig)


def main(options: Options) -> None:
    """Asks and shows.

    Raises:
        UserError: for options that do not fit together.
        LanguageModelError: if there is no answer.
    """
    suggester = options.suggester
    if suggester.kind not in ("open", "closed"):
        raise UserError(f"goal-mode is {suggester.kind}; choose open or closed, where a model is asked")
    if (suggester.kind == "closed") != (options.goal is not None):
        raise UserError("--goal goes with --goal-mode closed, where one goal is asked about")
    from ellm_agent.goals.asking import (  # imported late: --help must not wait for PyTorch
        Questions,
        caption_form,
    )
    from ellm_agent.llm.factory import make_model

    with config_files.one_line():
        world = registry.get(options.world)
    llm, language = suggester.llm, world.language()
    model = make_model(suggester, world)
    try:
        temperature = model.default_temperature if llm.temperature is None else llm.temperature
        judged = suggester.kind == "closed" and language.judgements is not None
        form = "statements" if judged else suggester.kind
        questions = Questions(form, language, [options.goal], temperature, llm.structured)
        caption = options.goal if judged else caption_form(llm.caption, language)(options.caption)
        if judged and options.goal not in map(str, language.judgements.all):
            known = str(language.judgements.all[0])
            raise UserError(f"goal is {options.goal!r}; {world.name} asks about statements such as {known!r}")
        (question,) = questions.about(caption)
        _show("model", model.description)
        for title, text in as_sent(question.prompt, llm.api).items():
            _show(title, text)
        (answer,) = model.answer([question.prompt])
    finally:
        model.close()
    if isinstance(answer, LanguageModelError):
        raise answer
    _show(f"answer ({answer.prompt_tokens} tokens read, {answer.answer_tokens} written)", answer.text)
    if suggester.kind == "open":
        goals, dropped = open_ended.explain(answer.text)
        _show("goals", "\n".join(goals) or "none")
        lines = [f"{line.strip()[:LONGEST_LINE]!r}: {reason}" for line, reason in dropped]
        _show("dropped", "\n".join(lines) or "nothing")
    else:
        logprobs = sorted(answer.logprobs.items(), key=lambda pair: -pair[1])
        _show("log-probabilities", "\n".join(f"{token!r}: {p:.3f}" for token, p in logprobs) or "none")
        p = closed_form.probability_of_yes(answer.text, answer.logprobs)
        _show("P(yes)", f"{p:.3f}: {'' if p > closed_form.THRESHOLD else 'not '}suggested")


def as_sent(prompt: Prompt, api: str) -> dict[str, str]:
    """The texts of a request, by name."""
    from ellm_agent.llm.wire import request_body

    body = request_body(prompt, "", api)
    texts = {message["role"]: message["content"] for message in body.get("messages", ())}
    schema = {"schema": prompt.schema} if "response_format" in body else {}
    return texts | schema if texts else {"prompt": body["prompt"]}


def _show(title: str, text: str) -> None:
    print(f"--- {title}\n{escape_control(text).rstrip()}\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know few characters
    cli.script(main, Options, __doc__)
