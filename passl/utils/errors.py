"""The one exception for what a user can put right."""


class UserError(ValueError):
    """A mistake in what was given: a config, a path, a weight file, an argument.

    The message names what was given, where, what is accepted and how to mend it. The command line prints it alone
    (no traceback unless `--debug`) and exits with a non-zero code; any other exception is a defect of ours.
    """
