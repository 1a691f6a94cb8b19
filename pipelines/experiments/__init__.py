"""The paper's tables and ablations: which cells there are, who runs them, and what is written of them."""
