"""What is done to a picture before a model sees it. Imports `utils` and `datasets.images` alone, never Paddle."""
