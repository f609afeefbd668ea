"""What people see and hear of a run, in the Prefect UI and as files."""
