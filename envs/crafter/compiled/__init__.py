"""Crafter, compiled. One public class, :class:`CompiledCrafter`, in lockstep with ``envs.crafter.env.CrafterTextEnv``."""

from envs.crafter.compiled.vec_env import CompiledCrafter, is_compiled

__all__ = ["CompiledCrafter", "is_compiled"]
