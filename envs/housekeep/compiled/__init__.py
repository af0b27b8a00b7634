"""The world compiled. One public class, :class:`CompiledHousekeep`: vectorised homes, equal to
:class:`envs.housekeep.env.HousekeepEnv` at every frame.
"""

from envs.housekeep.compiled.vec_env import CompiledHousekeep

__all__ = ["CompiledHousekeep"]
