"""What other policies would extract, before anything is extracted."""
