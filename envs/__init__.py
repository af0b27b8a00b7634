"""Text environments: gymnasium environments that describe themselves in language.

Registered: ``ellm/Crafter-v0`` (standard rules, 17 actions) and ``ellm/CrafterVerbNoun-v0`` (the
official ELLM rules, 139 verb-noun actions). See :class:`envs.crafter_text.CrafterTextEnv`.
"""

import gymnasium as gym

for _id, _protocol in (("ellm/Crafter-v0", "crafter"), ("ellm/CrafterVerbNoun-v0", "ellm")):
    gym.register(
        _id,
        entry_point="envs.crafter_text:CrafterTextEnv",
        kwargs={"protocol": _protocol},
        disable_env_checker=True,
    )
