"""The measure of our tokenizer: CLIP's in its plainest form, and random texts made of what tokenizers stumble over."""

import gzip
import html

import ftfy
import pytest
import regex

from passl.tokenizers.bpe import BUNDLED_VOCABULARY

PIECES = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+", regex.IGNORECASE
)
MARKS = {"<|startoftext|>": 49406, "<|endoftext|>": 49407}


def merge_by_rounds(symbols, ranks):
    """Each round searches the whole word for its best pair and joins all occurrences of it, left to right."""
    while True:
        best = min(zip(symbols, symbols[1:]), key=lambda pair: ranks.get(pair, float("inf")), default=None)
        if best not in ranks:
            return symbols
        joined = []
        rest = list(symbols)
        while rest:
            taken = 2 if tuple(rest[:2]) == best else 1
            joined.append("".join(rest[:taken]))
            rest = rest[taken:]
        symbols = joined


class ReferenceTokenizer:
    def __init__(self, path):
        lines = gzip.open(path).read().decode("utf-8").split("\n")[1 : 49152 - 256 - 2 + 1]
        kept = [b for b in range(256) if chr(b).isprintable() and chr(b) != " "]
        self.characters = {b: chr(b) for b in kept}
        self.characters.update({b: chr(256 + n) for n, b in enumerate(b for b in range(256) if b not in kept)})
        letters = list(self.characters.values())
        symbols = letters + [c + "</w>" for c in letters] + [line.replace(" ", "") for line in lines] + list(MARKS)
        self.ranks = {tuple(line.split(" ")): rank for rank, line in enumerate(lines)}
        self.ids = {symbol: number for number, symbol in enumerate(symbols)}

    def encode(self, text):
        text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
        text = regex.sub(r"\s+", " ", text).strip().lower()
        return [number for piece in PIECES.findall(text) for number in self._piece(piece)]

    def _piece(self, piece):
        if piece in MARKS:
            return [MARKS[piece]]
        letters = [self.characters[byte] for byte in piece.encode("utf-8")]
        letters[-1] += "</w>"
        return [self.ids[symbol] for symbol in merge_by_rounds(letters, self.ranks)]

    def decode(self, ids):
        symbol = {number: symbol for symbol, number in self.ids.items()}
        byte = {character: byte for byte, character in self.characters.items()}
        text = bytes(byte[character] for number in ids for character in symbol[number])
        return text.decode("utf-8", errors="replace").replace("</w>", " ")


FRAGMENTS = """
&amp; &amp;amp;lt; &lt;b&gt; &#39; &#x1f600; &eacute &EACUTE; &notit; &#0; &#x80; &#xD800; &nbsp; & &&;
<b> </w> < > \\ / _
<|endoftext|> <|startoftext|> <|EndOfText|> 's 'LL 'ſ it's Don't !!! ... $ € 3.14 1234567890 ½ ² Ⅷ 𝟘 ١٢٣
a A Zz the photo OF supercalifragilisticexpialidocious 日本語 中文字符 한국어 ｆｕｌｌ ﾀ ﬁ ﬂubber ĳ ß ẞ İ ı ſ K Å é ñ
Ã© â€œ â€™ schÃ¶n Ð¿Ñ€Ð¸ “q” ‘q’ … — שלום مرحبا नमस्ते ไทย 😀 👨‍👩‍👧 ❤️ 👍🏽
""".split()
FRAGMENTS += [
    "à la",
    "Ã la",
    "e\u0301",
    "& ",
    "&\n",
    "&\r",
    "\x1b[31m",
    "\ud83d",
    "\ude00",
    "\ud83d\ude00",
    "x" * 30,
    "日" * 20,
]
FRAGMENTS += list("\x00\x07\x0b\x0c\x1c\x1f\x7f\x85\xa0\xad\u200b\u200d\u2028\u202e\u3000\ufeff\ufffd\ufffc\r\n\t")


def make_nasty_text(rng):
    """A text of up to twelve parts: fragments from the list, or random characters of ASCII or all of Unicode."""
    parts = []
    for _ in range(rng.randrange(12)):
        draw = rng.random()
        if draw < 0.6:
            parts.append(rng.choice(FRAGMENTS))
        elif draw < 0.8:
            parts.append("".join(chr(rng.randrange(0x80)) for _ in range(rng.randrange(1, 8))))
        elif draw < 0.95:
            parts.append("".join(chr(rng.randrange(0x500)) for _ in range(rng.randrange(1, 5))))
        else:
            parts.append(chr(rng.randrange(0x110000)))
        parts.append(" " * (rng.random() < 0.4))
    return "".join(parts)


@pytest.fixture(scope="session")
def reference():
    """The reference tokenizer: every text is cleaned, every word merged pair by pair."""
    return ReferenceTokenizer(BUNDLED_VOCABULARY)


@pytest.fixture(scope="session")
def nasty_text():
    """The function that makes a random text."""
    return make_nasty_text


@pytest.fixture(scope="session")
def reference_merge():
    """The function that merges a word in rounds."""
    return merge_by_rounds
