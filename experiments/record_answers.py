"""Asks a language model about the captions that agents meet most, and records its answers in a file.

``--llm recorded:FILE`` then runs on the answers without the model. The captions are those of a run's suggestions
(``--log-suggestions``). Model and form are the options of runs (``--llm ...``, ``--goal-mode open``, ``closed`` or ``scored``).
What was answered before is in the model's answer cache, so that a recording that was stopped goes on.
"""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ellm_agent import cli
from ellm_agent.config import PRESETS
from ellm_agent.config import files as config_files
from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.errors import UserError
from prompts import closed_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ellm_agent.llm.base import Answer, LanguageModel, LanguageModelError
    from envs.interface import Language, World
    from prompts import Prompt

BATCH = 16  # questions between two lines of progress


@dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a run with suggestions.jsonl."""
    out: Path
    """File for the answers, compressed if it ends in .gz."""
    count: int = 500
    """Captions: the most frequent ones."""
    world: str = "crafter"
    """The world. Where closed questions are about statements (Housekeep), all of them are asked, whatever the run met."""
    threads: int = 1
    """CPU threads of a model in this process."""
    suggester: Annotated[SuggesterConfig, tyro.conf.arg(name="")] = field(default_factory=SuggesterConfig)


def main(options: Options) -> None:
    """Asks, and writes the file at the end.

    Raises:
        UserError: for options that make no sense, a run without suggestions, or a model that cannot be asked.
    """
    cli.at_least(1, count=options.count, threads=options.threads)
    cli.writable(out=options.out)
    if not options.suggester.asks_model:
        raise UserError(f"goal-mode is {options.suggester.kind}; choose open, closed or scored")
    import torch  # imported late: --help must not wait for it

    from ellm_agent.builders.suggesters import VERSIONS, form_and_candidates
    from ellm_agent.llm.factory import make_model
    from ellm_agent.runs.folder import write_whole
    from envs import registry

    torch.set_num_threads(options.threads)
    config = config_files.in_world(PRESETS["default"], options.world)
    with config_files.one_line():
        config = config.changed(suggester=options.suggester.model_dump())
    suggester, world = config.suggester, registry.get(options.world)
    language = world.language(**config.env.options)
    form, candidates = form_and_candidates(suggester, language)
    captions = _captions(options, suggester, world, language, form)
    with closing(make_model(suggester, world, config.env.options)) as model:
        prompts = _prompts(captions, form, candidates, language, model, suggester)
        answers, failures = _ask(model, prompts, suggester.llm.concurrency)
        head = {
            "description": f"{model.description}: recorded",
            "model": model.name,
            "version": VERSIONS[form],
            "date": datetime.now(UTC).date().isoformat(),
            "made": "python experiments/record_answers.py",
        }
    rows = [{"user": user, **written(answer, form)} for user, answer in answers.items()]
    lines = "\n".join(map(json.dumps, [head, *rows])).encode()
    write_whole(options.out, gzip.compress(lines, mtime=0) if options.out.suffix == ".gz" else lines)
    failed = f"; {len(failures):,} failed: {failures[0]}" if failures else ""
    print(f"wrote {len(rows):,} answers to {options.out}{failed}")


def _captions(
    options: Options, suggester: SuggesterConfig, world: World, language: Language, form: str
) -> list[str]:
    """What is asked about: the captions that a run met most, or all statements, which hold in all situations."""
    from ellm_agent.goals.asking import caption_form
    from ellm_agent.lm_training.suggestions import read_logs

    if form == "statements":
        return list(map(str, language.judgements.all))
    read = caption_form(suggester.llm.caption, language)
    met = Counter(read(row.whole) for row in read_logs([options.run], world))
    captions = [caption for caption, _ in met.most_common(options.count)]
    share = sum(met[caption] for caption in captions) / sum(met.values())
    print(f"{len(captions):,} of {len(met):,} captions, {share:.0%} of the suggestions of {options.run}")
    return captions


def _prompts(
    captions: Sequence[str],
    form: str,
    candidates: Sequence[str],
    language: Language,
    model: LanguageModel,
    suggester: SuggesterConfig,
) -> list[Prompt]:
    """All questions about captions, each once."""
    from ellm_agent.goals.asking import Questions
    from ellm_agent.goals.scoring import ScoredQuestions

    temperature = suggester.llm.temperature
    temperature = model.default_temperature if temperature is None else temperature
    questions = (
        ScoredQuestions(candidates)
        if form == "scored"
        else Questions(form, language, candidates, temperature, suggester.llm.structured)
    )
    about = (question.prompt for caption in captions for question in questions.about(caption))
    return list({prompt.user: prompt for prompt in about}.values())


def _ask(
    model: LanguageModel, prompts: Sequence[Prompt], concurrency: int
) -> tuple[dict[str, Answer], list[LanguageModelError]]:
    """Answers by the question's text, and failures.

    Raises:
        LanguageModelError: if a whole batch failed, and the next would. What was answered is in the model's cache.
    """
    from ellm_agent.goals.language_model import SAME_AGAIN
    from ellm_agent.llm.base import LanguageModelError
    from ellm_agent.llm.client import RequestPool

    asked = model if model.in_process else RequestPool(model, concurrency)
    found, failures, start = {}, [], time.monotonic()
    for i in range(0, len(prompts), BATCH):
        batch = prompts[i : i + BATCH]
        answers = asked.answer(batch)
        lost = [one for one in answers if isinstance(one, LanguageModelError)]
        if len(lost) == len(batch) and lost[0].kind not in SAME_AGAIN:
            raise lost[0]
        failures += lost
        found |= {p.user: one for p, one in zip(batch, answers, strict=True) if one not in lost}
        rate = (i + len(batch)) / (time.monotonic() - start)
        left = (len(prompts) - i - len(batch)) / rate / 60
        print(f"{i + len(batch):,} of {len(prompts):,} questions, {left:.0f} min left", flush=True)
    return found, failures


def written(answer: Answer, form: str) -> dict[str, Any]:
    """An answer as ``ellm_agent.llm.recorded`` reads it."""
    if form in ("closed", "statements"):
        return {"yes": round(closed_form.probability_of_yes(answer.text, answer.logprobs), 6)}
    if form == "scored":
        return {"text": "", "logprobs": {text: round(value, 3) for text, value in answer.logprobs.items()}}
    return {"text": answer.text}


if __name__ == "__main__":
    cli.script(main, Options, __doc__)
