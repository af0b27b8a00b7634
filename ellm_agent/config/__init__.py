"""Configuration: a file for each section (options), ``schema`` (all of them), ``presets``, ``methods`` (what is compared),
``downstream``, ``files`` (YAML).
"""

from ellm_agent.config.presets import MAY_CHANGE, PRESETS
from ellm_agent.config.schema import Config

__all__ = ["MAY_CHANGE", "PRESETS", "Config"]
