"""Agents that learn from logged transitions: BC, AWR, IQL, CQL. Each file opens with its loss, a pure function."""
