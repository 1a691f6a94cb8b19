"""Ways to change a file: its bytes, its encoding and line ends, the values and keys of JSON, names."""
