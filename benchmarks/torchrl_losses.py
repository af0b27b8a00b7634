"""Our IQL and CQL losses beside torchrl's, on one fixed batch: writes results/offline/torchrl.json.

In an environment of its own: ``pip install torchrl==0.14.0 torch==2.13.0 stable-baselines3==2.9.2``, then
``PYTHONPATH=. python benchmarks/torchrl_losses.py``. Losses that torchrl scales otherwise are named so.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from torch import nn
from torchrl.modules import ProbabilisticActor
from torchrl.modules.tensordict_module.actors import QValueActor
from torchrl.objectives import DiscreteCQLLoss, DiscreteIQLLoss, ValueEstimators

from ellm_agent.agents.offline.awr import advantage_weights, awr_loss
from ellm_agent.agents.offline.cql import cql_penalty
from ellm_agent.agents.offline.iql import expectile_loss, td_loss
from ellm_agent.agents.targets import double_q_target

SEED, BATCH, OBSERVATION, ACTIONS = 0, 256, 12, 17
GAMMA, EXPECTILE, TEMPERATURE, LARGEST = 0.95, 0.8, 0.2, 100.0  # torchrl cuts weights at 100, too
OUT = Path("results/offline/torchrl.json")


def make_batch() -> TensorDict:
    """Random transitions, a tenth of them the last of an episode."""
    ended = torch.rand(BATCH, 1) < 0.1
    following = {
        "observation": torch.randn(BATCH, OBSERVATION),
        "reward": torch.randn(BATCH, 1),
        "done": ended,
        "terminated": ended,
    }
    return TensorDict(
        {
            "observation": torch.randn(BATCH, OBSERVATION),
            "action": torch.randint(ACTIONS, (BATCH,)),
            "next": TensorDict(following, [BATCH]),
        },
        [BATCH],
    )


def iql(batch: TensorDict) -> dict[str, tuple[float, float]]:
    """Name of a loss -> ours, torchrl's."""
    heads = [nn.Linear(OBSERVATION, n) for n in (ACTIONS, ACTIONS, 1)]
    logits, critic, value = heads
    actor = ProbabilisticActor(
        TensorDictModule(logits, ["observation"], ["logits"]),
        in_keys=["logits"],
        out_keys=["action"],
        distribution_class=torch.distributions.Categorical,
    )
    theirs = DiscreteIQLLoss(
        actor,
        TensorDictModule(critic, ["observation"], ["state_action_value"]),
        TensorDictModule(value, ["observation"], ["state_value"]),
        action_space="categorical",
        loss_function="l2",
        temperature=1 / TEMPERATURE,
        expectile=EXPECTILE,
    )
    theirs.make_value_estimator(ValueEstimators.TD0, gamma=GAMMA)
    found = theirs(batch.clone())

    parameters = (
        theirs.qvalue_network_params
    )  # of two critics, which torchrl starts at random; their targets are copies
    twins = [parameters[i] for i in range(2)]
    now, after, actions = batch["observation"], batch["next", "observation"], batch["action"][:, None]
    with torch.no_grad():
        q_values = [
            nn.functional.linear(now, twin["module", "weight"], twin["module", "bias"]).gather(1, actions)
            for twin in twins
        ]
        advantages = torch.min(*q_values) - value(now)  # (batch, 1)
        log_probs = torch.log_softmax(logits(now), dim=1).gather(1, actions).squeeze(1)
        weights = advantage_weights(advantages.squeeze(1), TEMPERATURE, LARGEST)
        discounts = GAMMA * (~batch["next", "terminated"]).float()
        ours = {
            "loss_value": expectile_loss(advantages, EXPECTILE),
            "loss_qvalue": td_loss(q_values, batch["next", "reward"], discounts, value(after)),
            "loss_actor": awr_loss(log_probs, weights),
        }
    return {f"iql {name}": (float(ours[name]), float(found[name])) for name in ours}


def cql(batch: TensorDict) -> dict[str, tuple[float, float]]:
    """Likewise; torchrl's TD loss is half the mean squared error, and its target is not double."""
    net = nn.Linear(OBSERVATION, ACTIONS)
    theirs = DiscreteCQLLoss(
        QValueActor(net, in_keys=["observation"], action_space="categorical"), action_space="categorical"
    )
    theirs.make_value_estimator(ValueEstimators.TD0, gamma=GAMMA)
    found = theirs(batch.clone())
    actions = batch["action"][:, None]
    with torch.no_grad():
        q_values, following = net(batch["observation"]), net(batch["next", "observation"])
        ended = batch["next", "terminated"].float()
        target = double_q_target(batch["next", "reward"], ended, GAMMA, following, following)
        ours = {
            "loss_qvalue": 0.5 * nn.functional.mse_loss(q_values.gather(1, actions), target),
            "loss_cql": cql_penalty(q_values, actions),
        }
    return {f"cql {name}": (float(ours[name]), float(found[name])) for name in ours}


def main() -> None:
    torch.manual_seed(SEED)
    batch = make_batch()
    losses = iql(batch) | cql(batch)
    versions = {name: importlib.metadata.version(name) for name in ("torchrl", "tensordict", "torch")}
    rows = {name: {"ours": a, "torchrl": b, "difference": abs(a - b)} for name, (a, b) in losses.items()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"versions": versions, "losses": rows}, indent=1) + "\n")
    for name, row in rows.items():
        print(f"{name}: ours {row['ours']:.7f}, torchrl {row['torchrl']:.7f}")
    sys.exit(any(row["difference"] > 1e-5 * (1 + abs(row["torchrl"])) for row in rows.values()))


if __name__ == "__main__":
    main()
