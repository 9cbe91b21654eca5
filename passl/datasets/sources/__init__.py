"""Where samples come from: one file per layout on disk, by name in a config's `dataset`.

A source has `samples` (pictures by path, captions, perhaps a label) and `class_names`. It opens no picture.
"""

from passl.datasets.sources.base import Sample, Source
from passl.datasets.sources.food101 import Food101
from passl.datasets.sources.image_folder import ImageFolder
from passl.datasets.sources.image_text_folder import ImageTextFolder
from passl.datasets.sources.image_text_json_lines import ImageTextJsonLines
from passl.datasets.sources.image_text_table import ImageTextTable

__all__ = ["Food101", "ImageFolder", "ImageTextFolder", "ImageTextJsonLines", "ImageTextTable", "Sample", "Source"]
