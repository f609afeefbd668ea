"""The one base class of what a user can mend; the command line shows it as one line."""

from __future__ import annotations


class UserError(ValueError):
    """Something a user can mend: the message names the file or field, and the way out."""
