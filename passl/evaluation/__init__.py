"""How good a model is: zero-shot classification, its prompts and class names, metrics and pictures of them.

Imports the rooms above it, the predictor among them; the engine runs evaluators in training.
"""
