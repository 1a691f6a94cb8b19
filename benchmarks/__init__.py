"""What is measured, and plain second implementations that results are compared with; `make bench-NAME` runs one."""
