"""Who suggests goals. A new suggester: a file in ``goals/``, a line in ``make_suggester``."""

from __future__ import annotations

from ellm_agent.builders.rewards import make_similarity
from ellm_agent.config.schema import Config
from ellm_agent.config.suggester import SuggesterConfig
from ellm_agent.errors import UserError
from ellm_agent.goals.asking import caption_form
from ellm_agent.goals.attempts import AttemptFilter
from ellm_agent.goals.base import (
    AllGoals,
    CommonGoals,
    Goal,
    GoalSuggester,
    NoGoals,
    OracleSuggester,
    TaskGoals,
)
from ellm_agent.goals.judged import CosineJudge, JudgedGoals, ModelJudge
from ellm_agent.goals.language_model import LanguageModelSuggester
from ellm_agent.goals.noisy_oracle import NoisyOracle
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.factory import make_model
from ellm_agent.llm.recorded import RecordedModel
from envs import registry
from envs.interface import Language
from prompts import closed_form, open_ended, scored, statement

# Of the prompts of each form.
VERSIONS = {
    "open": open_ended.VERSION,
    "closed": closed_form.VERSION,
    "scored": scored.VERSION,
    "statements": statement.VERSION,
}
SBERT_SHARE = 0.05  # of the places of a thing that are right, for the cosine baseline
# Worlds from this seed on, and situations in them, in which the commonest goals are counted.
SAMPLED_WORLDS, SAMPLED = 1_000_000, 200


def form_and_candidates(suggester: SuggesterConfig, language: Language) -> tuple[str, tuple[Goal, ...]]:
    """The form of the questions to a language model, one of ``VERSIONS``, and the goals that they are about (closed and
    scored form).
    """
    if suggester.kind == "closed" and language.judgements is not None:
        return "statements", language.goals
    if suggester.closed_candidates != "all":
        return suggester.kind, language.goals
    pairs = (f"{verb} {noun}" for verb in language.verbs for noun in language.nouns)
    return suggester.kind, tuple(dict.fromkeys((*language.goals, *map(language.canonical, pairs))))


def make_suggester(config: Config, language: Language, model: LanguageModel | None = None) -> GoalSuggester:
    """The suggester of a configuration.

    Args:
        config: of the run.
        language: of its worlds.
        model: the language model; None: the configuration's.

    Raises:
        UserError: for an endpoint, key, price or cache that is wrong or missing.
    """
    if config.suggester.learned_filter:
        plain = make_suggester(config.changed(**{"suggester.learned_filter": False}), language, model)
        return AttemptFilter(plain, language, make_similarity(config, language).satisfies)
    suggester, llm, world = config.suggester, config.suggester.llm, registry.get(config.env.name)
    plain = {
        "oracle": OracleSuggester,
        "noisy-oracle": lambda: NoisyOracle(
            suggester.oracle_recall,
            suggester.oracle_precision,
            language.goals,
            language.drop_target,
            language.candidates,
        ),
        "novelty": lambda: AllGoals(language.goals, language.candidates),
        "common": lambda: CommonGoals(
            world.situations(SAMPLED_WORLDS, SAMPLED, seed=0, protocol=config.env.options["protocol"]),
            goals=frozenset(language.goals),
        ),
        "task": TaskGoals,
        "none": NoGoals,
    }
    if suggester.kind == "common" and config.env.own:
        raise UserError(
            f"goal-mode is common, which counts goals in the usual {config.env.name}; not with --{next(iter(config.env.own))}"
        )
    if suggester.kind in plain:
        return plain[suggester.kind]()
    judgements = language.judgements
    if suggester.kind == "sbert":
        if judgements is None:
            raise UserError(
                f"goal-mode is sbert, but in {config.env.name} no goals depend on what belongs where"
            )
        return JudgedGoals(CosineJudge(judgements.all, SBERT_SHARE), judgements)
    model = model or make_model(suggester, world, config.env.options)
    form, candidates = form_and_candidates(suggester, language)
    judged = form == "statements"
    if isinstance(model, RecordedModel):
        prompts = [statement.prompt(one, judgements) for one in judgements.all] if judged else []
        model.check(VERSIONS[form], prompts)
    asking = LanguageModelSuggester(
        model,
        form,
        language,
        candidates=candidates,
        caption=str if judged else caption_form(llm.caption, language),
        every=min(suggester.frames_per_question, 1) if judged else suggester.frames_per_question,
        in_flight=llm.concurrency,
        temperature=llm.temperature,
        structured=llm.structured,
        stop_on_failure=llm.on_failure == "stop",
        scoring={
            "base": suggester.score_base,
            "best": suggester.score_best,
            "threshold": suggester.score_threshold,
        },
    )
    return JudgedGoals(ModelJudge(asking, len(judgements.all)), judgements) if judged else asking
