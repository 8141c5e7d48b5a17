"""The one exception that is shown to users without a traceback."""


class InputError(Exception):
    """Something the user gave is wrong; the message names the file, row or key and the remedy."""
