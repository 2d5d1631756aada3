"""Many pairs in one memory, advanced by one call of the kernel a batch."""
