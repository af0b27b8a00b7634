"""Prompts: text, parser and version of each form are one module; the words about a world come from its ``Language``.

The version changes whenever the text or the parser changes: it is part of the answer cache's key.
"""
