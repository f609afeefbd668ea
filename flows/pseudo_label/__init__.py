"""A model separates unlabelled music; what it is sure of becomes examples for another one."""
