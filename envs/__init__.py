"""Text environments: gymnasium environments that describe themselves in language.

Registered: ``ellm/Crafter-v0`` (standard rules, 17 actions) and ``ellm/CrafterVerbNoun-v0`` (the
official ELLM rules, 139 verb-noun actions), see :class:`envs.crafter.env.CrafterTextEnv`; and one for each downstream
task, such as ``ellm/PlantRow-v0``, see ``envs/crafter/tasks.py``.
"""

import gymnasium as gym

from envs.crafter.tasks import tasks

for _id, _protocol in (("ellm/Crafter-v0", "crafter"), ("ellm/CrafterVerbNoun-v0", "ellm")):
    gym.register(
        _id,
        entry_point="envs.crafter.env:CrafterTextEnv",
        kwargs={"protocol": _protocol},
        disable_env_checker=True,
    )

for _task in tasks().by_name.values():
    gym.register(
        f"ellm/{_task.environment}-v0",
        entry_point=f"envs.crafter.env:{_task.environment}",
        disable_env_checker=True,
    )
