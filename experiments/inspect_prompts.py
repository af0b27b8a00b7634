"""Asks a language model one question, and shows what was sent, what came back, and what training would make of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from ellm_agent import cli
from ellm_agent.config import files as config_files
from ellm_agent.config.schema import Config, GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.base import Answer, LanguageModelError, Prompt
from ellm_agent.terminal import printable
from prompts import closed_form, open_ended

LONGEST_LINE = 200  # characters shown of a line that was dropped


@dataclass(frozen=True)
class Options:
    caption: str = "You see grass, tree. You are targeting tree."
    """What the player sees, as the paper's captions tell it."""
    goal: str | None = None
    """Closed form: the goal that is asked about."""
    goals: Annotated[GoalConfig, tyro.conf.arg(name="")] = field(default_factory=GoalConfig)


def main(options: Options) -> None:
    """Asks and shows.

    Raises:
        UserError: for options that make no sense.
        LanguageModelError: if there is no answer.
    """
    goals = options.goals
    if goals.goal_mode not in ("open", "closed"):
        raise UserError(f"goal-mode is {goals.goal_mode}; choose open or closed, where a model is asked")
    if (goals.goal_mode == "closed") != (options.goal is not None):
        raise UserError("--goal goes with --goal-mode closed: there, one goal is asked about")
    config_files.check(Config(goals=goals))
    from ellm_agent.llm.factory import make_model  # imported late: --help must not wait for PyTorch

    model = make_model(goals)
    try:
        prompt = make_prompt(options, in_process=model.source == "")
        _show("model", model.description)
        for title, text in as_sent(prompt, goals.llm_api).items():
            _show(title, text)
        (answer,) = model.answer([prompt])
    finally:
        model.close()
    if isinstance(answer, LanguageModelError):
        raise answer
    _show(f"answer ({answer.prompt_tokens} tokens read, {answer.answer_tokens} written)", answer.text)
    if goals.goal_mode == "open":
        _show_goals(answer)
    else:
        _show_probability(answer)


def make_prompt(options: Options, in_process: bool) -> Prompt:
    """The prompt of training, see ``training.make_suggester``."""
    from ellm_agent.llm.bundled import TEMPERATURE
    from envs.crafter.env import CrafterTextEnv

    goals, language = options.goals, CrafterTextEnv().language
    scene = language.brief(options.caption) if goals.llm_scene == "brief" else options.caption
    if options.goal is not None:
        return closed_form.prompt(scene, options.goal)
    temperature = goals.llm_temperature
    if temperature is None:
        temperature = TEMPERATURE if in_process else open_ended.TEMPERATURE
    verbs = (*language.verbs, *language.alone)
    return open_ended.prompt(scene, verbs, schema=goals.llm_structured, temperature=temperature)


def as_sent(prompt: Prompt, api: str) -> dict[str, str]:
    """The texts of a request, by name."""
    from ellm_agent.llm.wire import request_body

    body = request_body(prompt, "", api)
    if api == "completion":
        return {"prompt": body["prompt"]}
    texts = {message["role"]: message["content"] for message in body["messages"]}
    return texts | ({"schema": prompt.schema} if prompt.schema else {})


def _show_goals(answer: Answer) -> None:
    goals, dropped = open_ended.explain(answer.text)
    _show("goals", "\n".join(goals) or "none")
    lines = [f"{line.strip()[:LONGEST_LINE]!r}: {reason}" for line, reason in dropped]
    _show("dropped", "\n".join(lines) or "nothing")


def _show_probability(answer: Answer) -> None:
    logprobs = sorted(answer.logprobs.items(), key=lambda pair: -pair[1])
    _show("log-probabilities", "\n".join(f"{token!r}: {p:.3f}" for token, p in logprobs) or "none")
    p = closed_form.probability_of_yes(answer.text, answer.logprobs)
    _show("P(yes)", f"{p:.3f}: {'' if p > closed_form.THRESHOLD else 'not '}suggested")


def _show(title: str, text: str) -> None:
    print(f"--- {title}\n{printable(text).rstrip()}\n")


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know few characters
    cli.script(main, Options, __doc__)
