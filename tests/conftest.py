"""What holds for every test: one thread, and nobody to ask for models."""

import os

# Read when torch and transformers are imported. Small tensors on several threads are many times slower than on one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
