"""``train_suggester.py ilql``: a suggester learns offline from suggestion logs; beside it BC, filtered BC and SARSA."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ellm_agent.errors import UserError
from ellm_agent.llm.value_heads import ValueHeads
from ellm_agent.lm_training import report, resumable
from ellm_agent.lm_training.data import Data, Sources
from ellm_agent.lm_training.ilql import ILQL, Episode, Row, Settings, best_episodes
from ellm_agent.lm_training.suggestions import Suggestion, chains

METHODS = ("ilql", "sarsa", "bc", "filtered-bc")


@dataclass(frozen=True)
class Recipe:
    """What is asked for."""

    sources: Sources
    method: str = "ilql"  # or "sarsa" (tau .5), "bc", "filtered-bc"
    steps: int = 300
    batch: int = 24  # chains of suggestions in a step
    learning_rate: float = 5e-4  # of Adam
    tau: float = 0.8  # expectile
    alpha: float = 0.1  # weight of the CQL term
    beta: float = 8.0  # weight of Q - V in decoding
    gamma: float = 0.99  # discount per token
    polyak: float = 0.02  # rate of the target heads
    kept: float = 0.3  # filtered-bc: share of the chains
    seed: int = 0

    def __post_init__(self):
        if self.method not in METHODS:
            raise UserError(f"method is {self.method!r}; choose one of {', '.join(METHODS)}")
        if not 0 < self.tau < 1:
            raise UserError(f"tau is {self.tau}; it must lie between 0 and 1")


def episodes(data: Data, rows: Sequence[Suggestion]) -> list[Episode]:
    """Chains of suggestions: a row of tokens for each answer, which is rewarded at its last token."""
    result = []
    for chain in chains(rows):
        parts = []
        for suggestion in chain:
            question = data.suggester.question(suggestion.caption)
            answer = data.suggester.answer(suggestion.goals)
            reward = data.true_usefulness(suggestion, suggestion.goals)
            actions = range(len(question), len(question) + len(answer))
            parts.append(Row([*question, *answer], list(actions), [0.0] * (len(answer) - 1) + [reward]))
        result.append(Episode(parts, terminal=chain[-1].ended))
    return result


def fit(recipe: Recipe, folder: Path, say: Callable[[str], None] = print) -> dict[str, float]:
    """Trains a suggester, and writes it with its figures and curves to a folder.

    Raises:
        UserError: for data, a model or a folder that cannot be used.
    """
    data = Data(recipe.sources)
    resumable.open_folder(folder, recipe, recipe.method)
    model = data.suggester.model
    before = data.measure(recipe.seed)
    logged = episodes(data, data.train)
    if recipe.method == "filtered-bc":
        logged = best_episodes(logged, recipe.kept)
    heads = None
    if recipe.method in ("ilql", "sarsa"):
        width = model.get_output_embeddings().weight
        with resumable.seeded(recipe.seed):
            heads = ValueHeads(width.shape[1], width.shape[0])
    settings = Settings(
        gamma=recipe.gamma,
        tau=0.5 if recipe.method == "sarsa" else recipe.tau,
        alpha=recipe.alpha,
        learning_rate=recipe.learning_rate,
        batch=recipe.batch,
        polyak=recipe.polyak,
    )
    learner = ILQL(model, heads, settings)

    def step(number: int) -> dict[str, float]:
        return learner.step(logged, resumable.generators(recipe.seed, number)[0])

    rows = resumable.run(folder, {"learner": learner}, step, recipe.steps, say)
    after = data.measure(recipe.seed, adjust=learner.policy(recipe.beta))
    held_out = [data.true_usefulness(row, row.goals) for row in data.held_out]
    figures = report.improvement(before, after) | {
        "true_usefulness_of_the_logs": sum(held_out) / len(held_out),
        "held_out_captions": len(data.held_out),
    }
    report.draw_rows(rows, folder / "curves.png")
    title = f"a suggester that learned by {recipe.method}"
    use = report.SUGGESTS.format(report.command(recipe.sources.world, folder))
    report.write_card(folder, title, use, recipe, figures)
    if heads:
        heads.save(folder, recipe.beta)
    data.suggester.save(folder)
    return figures
