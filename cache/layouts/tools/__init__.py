"""Labels and segments exported from annotation tools: VIA, ELAN, Label Studio."""
