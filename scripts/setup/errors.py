"""What goes wrong while setting up."""


class SetupError(Exception):
    """The message is complete: it says what is wrong and what to do."""
