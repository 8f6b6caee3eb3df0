"""What can be wrong with data, told before any training."""


class DataError(ValueError):
    """Data or a manifest is not what it should be; the message names the file."""


class MissingDataError(DataError, FileNotFoundError):
    """Data is not where it was expected; the message says where, and how to get it."""
