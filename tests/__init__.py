"""The tests: each lies where the file lies that it tests; what they share is in `support/`."""
