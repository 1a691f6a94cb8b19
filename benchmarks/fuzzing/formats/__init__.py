"""A kind of input each: sound files, their mutations, the project's reader, and a plain second one."""
