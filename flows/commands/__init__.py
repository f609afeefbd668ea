"""The ``silentmix`` command: the stages' commands, and those that are no stage."""
