"""How good localization is, judged by video labels alone: criteria that need no times of actions (numpy only).

Each is a number for one model on held-out, weakly labelled videos, higher for what is expected to be better.
`benchmarks label_free` measures how well they predict the mAP.
"""
