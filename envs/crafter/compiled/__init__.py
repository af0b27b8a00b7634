"""Crafter's rules, compiled. One public class, :class:`CompiledCrafter`: vectorised worlds, equal to
:class:`envs.crafter.env.CrafterTextEnv` at every frame.
"""

from envs.crafter.compiled.vec_env import CompiledCrafter
from envs.crafter.jit import is_compiled

__all__ = ["CompiledCrafter", "is_compiled"]
