"""The paper's tables and ablations: their rows, the runs behind each row, the workers, and the written tables."""
