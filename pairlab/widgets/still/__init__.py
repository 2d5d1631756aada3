"""The still picture of a lab in a saved notebook."""
