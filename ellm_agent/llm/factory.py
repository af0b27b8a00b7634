"""From a configuration to a language model, with cache and budget around it. The only module that names all of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ellm_agent.config.suggester import LLMConfig, SuggesterConfig
from ellm_agent.errors import UserError
from ellm_agent.llm.base import LanguageModel
from ellm_agent.llm.budget import Metered, price_of
from ellm_agent.llm.bundled import FOLDER, BundledModel
from ellm_agent.llm.cache import AnswerCache, CachedModel, ReplayModel, default_path
from ellm_agent.llm.client import OpenAIModel
from ellm_agent.llm.endpoint import endpoint, model_at
from ellm_agent.llm.likelihood import LikelihoodModel
from ellm_agent.llm.local import LocalModel
from ellm_agent.llm.rate import Paced
from ellm_agent.llm.recorded import RecordedModel
from ellm_agent.llm.scripted import ScriptedModel
from envs.interface import World

SHIPPED = ".jsonl.gz"  # ending of the files of recorded answers that a world brings
BEFORE = "smollm2"  # the answers of "recorded" without a name, such as in runs up to 0.12.0: the default then
# Options without effect on other models.
ENDPOINTS_ONLY = (
    "base_url", "model", "structured", "rpm", "tpm", "budget_usd", "budget_tokens", "price_read", "price_written",
)  # fmt: skip


def resolve(suggester: SuggesterConfig, world: World) -> SuggesterConfig:
    """The configuration with "auto" and the environment's settings written out.

    The saved configuration then says which model answered, and a run that is resumed in another shell asks the same.
    Without an endpoint, "auto" is the bundled model, or in closed form the recorded answers that a world has.

    Raises:
        UserError: if an endpoint is wanted and none is configured, if its URL is bad or its model not named, or for
            an option without effect on the model that answers.
    """
    if not suggester.asks_model:
        return suggester
    llm = suggester.llm
    url = endpoint(llm.base_url)
    if llm.kind == "endpoint" and not url:
        raise UserError("llm is endpoint, but none is configured: give --llm-base-url, or set OPENAI_API_KEY")
    kind = llm.kind
    if kind == "auto":  # an option wins over the environment
        recorded = world.recorded_answers and suggester.kind == "closed" and not world.has_bundled_model
        offline = "recorded" if llm.answers or (recorded and not llm.folder) else "bundled"
        kind = offline if not url or ((llm.folder or llm.answers) and not llm.base_url) else "endpoint"
    if llm.folder and kind != "bundled":
        raise UserError(f"llm-folder is {llm.folder}, but llm is {kind}; only bundled reads a folder")
    if llm.answers and kind != "recorded":
        raise UserError(f"llm-answers is {llm.answers}, but llm is {kind}; only recorded reads such a file")
    if suggester.kind == "scored" and kind in ("bundled", "script"):
        raise UserError(
            f"goal-mode is scored, but what answers is {kind}, which gives no likelihoods: give --llm local, or"
            " --llm-base-url with a server that returns log-probabilities of prompts (vLLM)"
        )
    if kind != "local":
        for name in ("gguf", "threads"):
            if getattr(llm, name) is not None:
                raise UserError(f"llm-{name} is {getattr(llm, name)}, but llm is {kind}; it is for local")
    elif suggester.kind == "scored" and llm.threads is not None:
        raise UserError(f"llm-threads is {llm.threads}, but goal-mode is scored, which starts no server")
    resolved = {"kind": kind}
    if llm.kind == "auto" and kind == "recorded" and not llm.answers:
        resolved["answers"] = _name(world.recorded_answers)
    if kind == "endpoint":
        resolved |= {"base_url": url, "model": model_at(url, llm.model)}
    elif kind != "replay":
        for name in llm.model_dump(exclude_defaults=True):
            if kind == "local" and name in ("structured", "budget_tokens"):
                continue
            if name in ENDPOINTS_ONLY:
                auto = f"what answers is {kind}: set OPENAI_API_KEY, or give --llm-base-url"
                option, why = (
                    f"llm-{name.replace('_', '-')}",
                    auto if llm.kind == "auto" else f"llm is {kind}",
                )
                raise UserError(f"{option} is for endpoints, but {why}")
    return suggester.model_copy(update={"llm": LLMConfig.model_validate(llm.model_dump() | resolved)})


def make_model(
    suggester: SuggesterConfig, world: World, options: Mapping[str, Any] | None = None
) -> LanguageModel:
    """The language model of a configuration.

    Args:
        suggester: of kind "open", "closed" or "scored".
        world: whose advice the scripted model gives, and whose recorded answers are the default.
        options: of the world's environments, which its advice may depend on.

    Raises:
        UserError: for an endpoint, key, price, folder or cache file that is wrong or missing.
    """
    llm = resolve(suggester, world).llm
    if llm.kind == "recorded":
        return RecordedModel(_recorded(llm.answers, world, suggester.kind))
    if llm.kind == "script":
        advice = world.advice(**(options or {}))
        if advice is None:
            raise UserError(f"llm is script, but the world {world.name} has no advice for it")
        return ScriptedModel(advice)
    cache = _cache(llm)
    if llm.kind == "replay":
        url = llm.base_url and llm.base_url.rstrip("/")
        return ReplayModel(cache, url and (url if llm.api == "chat" else f"{url}/completions"), llm.model)
    model: LanguageModel
    if llm.kind == "bundled" and llm.folder is None and not world.has_bundled_model:
        raise UserError(
            f"no model is bundled for the world {world.name}; give --llm-base-url, --llm-folder or --llm script"
        )
    if llm.kind == "bundled":
        model = BundledModel(llm.folder or FOLDER)
        if llm.folder:
            model.load()  # errors in a user's own folder are reported before the run starts
    elif llm.kind == "local":
        if suggester.kind == "scored":
            model = LikelihoodModel(llm.gguf)
        else:
            model = LocalModel(llm.gguf, llm.threads, llm.timeout, llm.api)
        model = Metered(model, budget_tokens=llm.budget_tokens)
    else:
        model = OpenAIModel(llm.model, llm.base_url, llm.timeout, llm.api)
        model = Paced(model, llm.rpm, llm.tpm) if llm.rpm or llm.tpm else model
        price = price_of(llm.model, llm.price_read, llm.price_written)
        model = Metered(model, price, llm.budget_usd, llm.budget_tokens)
    return CachedModel(model, cache) if cache else model


def _name(path: Path) -> str:
    """Of a file of recorded answers."""
    return path.name.removesuffix(SHIPPED)


def names_shipped(answers: Path | None, world: World, form: str) -> bool:
    """Whether these recorded answers are those of a world, by their name, and no file of a user."""
    if answers is None or answers.is_file():
        return False
    return not {str(answers), f"{answers}-{form}"}.isdisjoint(_shipped(world))


def _shipped(world: World) -> dict[str, Path]:
    """The files of recorded answers that a world brings, by name."""
    if world.recorded_answers is None:
        return {}
    return {_name(path): path for path in sorted(world.recorded_answers.parent.glob(f"*{SHIPPED}"))}


def _recorded(answers: Path | None, world: World, form: str) -> Path:
    """The file of recorded answers: as given, or the one of that name, or of that name and form, that the world brings.

    Raises:
        UserError: if there are none.
    """
    if answers and (answers.is_file() or answers.name != str(answers) or answers.suffix):
        return answers
    if world.recorded_answers is None:
        raise UserError(f"no answers are recorded for the world {world.name}; give --llm recorded:FILE")
    names = _shipped(world)
    name = str(answers or (BEFORE if BEFORE in names else _name(world.recorded_answers)))
    found = names.get(name) or names.get(f"{name}-{form}")
    if not found:
        raise UserError(
            f"llm is recorded:{name} and goal-mode {form}, but there is no such file; the world {world.name} brings "
            + ", ".join(names)
        )
    return found


def _cache(llm: LLMConfig) -> AnswerCache | None:
    if llm.cache == "off" or (llm.cache == "auto" and llm.kind == "bundled"):
        if llm.kind == "replay":
            raise UserError("llm is replay, which needs a cache: give --llm-cache FILE")
        return None
    path = default_path() if llm.cache == "auto" else Path(llm.cache)
    return AnswerCache(path, read_only=llm.kind == "replay")
