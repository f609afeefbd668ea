"""One Prefect flow a stage, the flow that chains them, and the ``silentmix`` command."""
