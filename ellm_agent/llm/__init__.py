"""Language models: an OpenAI-compatible endpoint, a GGUF file on this machine, the bundled model, recorded answers, and a
script; likelihoods of goals.
"""
