"""Our own layout. Names are `docs/`'s and the networks' own, so nothing is converted and strict loading checks them."""

from passl.checkpoint.families.rules import Family

FAMILY = Family(
    "passl's own layout",
    marks=(
        r"text\.blocks\.\d+\.",
        r"visual\.blocks\.\d+\.attn\.q_proj\.",
        r"visual\.layer\d\.0\.downsample\.conv\.",
    ),
)
