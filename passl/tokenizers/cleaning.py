"""Cleaning of captions before they are cut into words, as CLIP does it."""

from __future__ import annotations

import html
import re

import ftfy
import regex

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
