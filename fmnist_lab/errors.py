"""The one error that is the user's to mend."""


class RequestError(ValueError):
    """The request was wrong: a key, a value, a file or a folder.

    The message is one sentence that names the key, the value received and what is
    allowed. The command line prints it without a traceback and exits with code 2.
    """
