"""Prompt text and its parser, together, one module per form; each carries a version.

The version changes whenever the text or the parser changes.
"""
