"""Which language model a run asks, decided once and written into its configuration."""

from __future__ import annotations

import dataclasses

from ellm_agent.config.schema import GoalConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.endpoint import endpoint, model_at

FOR_ENDPOINTS = (  # options that mean nothing to a model in the process
    "llm_base_url",
    "llm_model",
    "llm_structured",
    "llm_budget_usd",
    "llm_budget_tokens",
    "llm_price_read",
    "llm_price_written",
)


def settled(goals: GoalConfig) -> GoalConfig:
    """The options with "auto" and what the environment says put into words.

    So the configuration that is saved tells what answered, and a run that goes on in another shell asks the same model.

    Raises:
        UserError: if an endpoint is wanted and none is configured, if its URL is bad or its model not named, or if an
            option for endpoints is given without one.
    """
    if goals.goal_mode not in ("open", "closed"):
        return goals
    found = endpoint(goals.llm_base_url)
    if goals.llm == "endpoint" and not found:
        raise UserError("llm is endpoint, but none is configured: give --llm-base-url, or set OPENAI_API_KEY")
    kind = goals.llm if goals.llm != "auto" else "endpoint" if found else "embedded"
    if kind == "endpoint":
        model = model_at(found, goals.llm_model)
        return dataclasses.replace(goals, llm=kind, llm_base_url=found, llm_model=model)
    for name in FOR_ENDPOINTS if kind != "replay" else ():
        if getattr(goals, name) != getattr(GoalConfig, name):
            option = name.replace("_", "-")
            raise UserError(
                f"{option} is for endpoints, but what answers is {kind}: set OPENAI_API_KEY, or give --llm-base-url"
                if goals.llm == "auto"
                else f"{option} is for endpoints, but llm is {kind}"
            )
    return dataclasses.replace(goals, llm=kind)
