"""Set Paddle's CPU speed right before any test imports it, as the command line does."""

from passl.utils.cpu import configure_cpu

configure_cpu()
