"""``silentmix study paper``: the table of the paper, made by the pipeline itself."""
