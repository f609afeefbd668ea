"""What ``benchmarks.scale`` is made of: a workspace that grows, and commands that are measured."""
