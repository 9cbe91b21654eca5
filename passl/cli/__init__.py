"""The `passl` command. `tools/*.py` are thin doors to the same functions; logic lives in the rooms above."""
