"""The paper's tables as commands: which cells there are, who runs them, and what is written of them."""
