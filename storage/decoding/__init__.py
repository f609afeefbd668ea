"""From any file to canonical audio: whatever a stranger's file holds, in a process that may die."""
