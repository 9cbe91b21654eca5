"""Our own layout: the names of our networks. Nothing is converted, and strict loading into a network checks the names."""

from passl.checkpoint.families.rules import Family

FAMILY = Family(
    "passl's own layout",
    marks=(
        r"text\.blocks\.\d+\.",
        r"visual\.blocks\.\d+\.attn\.q_proj\.",
        r"visual\.layer\d\.0\.downsample\.conv\.",
    ),
)
