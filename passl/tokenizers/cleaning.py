"""Cleaning of captions before they are cut into words: CLIP's, and the ways of other models by name."""

from __future__ import annotations

import html
import re
import string
from typing import Callable, Dict

import ftfy
import regex

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)

# What the fixers below can possibly change in ASCII text: control characters other than plain white space, and an
# ampersand that may begin an HTML entity (one before white space begins none).
_NEEDS_FIXING = re.compile(r"[^\t\n\f\r -~]|&(?![\t\n\f ])")


def basic_clean(text: str) -> str:
    """Mends broken encodings and resolves HTML entities, also those that were escaped twice."""
    text = ftfy.fix_text(text)
    return html.unescape(html.unescape(text)).strip()


def whitespace_clean(text: str) -> str:
    """Turns every run of white space into one space and removes it at both ends."""
    return regex.sub(r"\s+", " ", text).strip()


def words(text: str) -> list[str]:
    """The text cleaned, in lower case, and split at white space.

    Plain ASCII text, which most captions are, comes out of `basic_clean` and `whitespace_clean` with only its white
    space changed, so both are left out for it; they take most of the time that a caption takes.
    """
    if _NEEDS_FIXING.search(text) is None:
        return text.lower().split()
    return whitespace_clean(basic_clean(text)).lower().split(" ")


def _spaced(text: str) -> str:
    """The text with single spaces between its words. Unlike `whitespace_clean`, control characters may be spaces too."""
    return " ".join(text.split())


def _plain(text: str) -> str:
    """The text in lower case, without ASCII punctuation, with single spaces between its words."""
    return _spaced(text.translate(_NO_PUNCTUATION).lower())


# How a caption is cleaned, by name. The three that mend it first are open_clip's; the last two are those of transformers'
# tokenizers for SigLIP. (SiglipTokenizer joins words at an underscore; in training it was a space, as in
# "canonicalize". Siglip2Tokenizer lowers each letter by itself.)
CLEANING: Dict[str, Callable[[str], str]] = {
    "none": str,
    "whitespace": lambda text: _spaced(basic_clean(text)),
    "lower": lambda text: _spaced(basic_clean(text)).lower(),
    "canonicalize": lambda text: _plain(basic_clean(text).replace("_", " ")),
    "siglip": _plain,
    "siglip2": lambda text: "".join(map(str.lower, text)),
}
