"""What keeps a command from going on; the messages are for the person who called it."""


class TrainingError(Exception):
    """Why, and what to do."""


class RowsError(TrainingError):
    """Rows cannot be used; the message says which file, and why."""


class RunError(TrainingError):
    """A run cannot start or go on."""
