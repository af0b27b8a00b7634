"""From a configuration to a language model, with cache and budget around it."""

from __future__ import annotations

from pathlib import Path

from ellm_agent.config.schema import GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.budget import Metered, price_of
from ellm_agent.llm.bundled import EmbeddedModel
from ellm_agent.llm.cache import AnswerCache, default_path
from ellm_agent.llm.choice import settled
from ellm_agent.llm.client import OpenAIModel
from ellm_agent.llm.recorded import CachedModel, ReplayModel
from ellm_agent.llm.scripted import ScriptedModel


def make_model(goals: GoalConfig) -> LanguageModel:
    """The language model of a configuration, with cache and budget around it.

    Raises:
        UserError: for an endpoint, key, price or cache file that is wrong or missing.
    """
    goals = settled(goals)
    kind = goals.llm
    if kind == "script":
        return ScriptedModel()
    cache = _cache(goals, kind)
    if kind == "replay":
        url = goals.llm_base_url and goals.llm_base_url.rstrip("/")
        return ReplayModel(
            cache, url and (url if goals.llm_api == "chat" else f"{url}/completions"), goals.llm_model
        )
    if kind == "embedded":
        model: LanguageModel = EmbeddedModel()
    else:
        name, url = goals.llm_model, goals.llm_base_url
        endpoint_model = OpenAIModel(name, url, goals.llm_concurrency, goals.llm_timeout, api=goals.llm_api)
        price = price_of(name, goals.llm_price_read, goals.llm_price_written)
        model = Metered(endpoint_model, price, goals.llm_budget_usd, goals.llm_budget_tokens)
    return CachedModel(model, cache) if cache else model


def _cache(goals: GoalConfig, kind: str) -> AnswerCache | None:
    if goals.llm_cache == "off" or (goals.llm_cache == "auto" and kind == "embedded"):
        if kind == "replay":
            raise UserError("llm is replay, which needs a cache: give --llm-cache FILE")
        return None
    path = default_path() if goals.llm_cache == "auto" else Path(goals.llm_cache)
    return AnswerCache(path, read_only=kind == "replay")
