"""The ``silentmix`` command."""
