"""Which models there are, which are here, and how to get one."""
