"""What every room needs and nothing that knows a model: registry, files, errors, constants, CPU settings.

Every room may import from here; this room imports from no other (only the alias file `tokenizer.py` does).
"""
