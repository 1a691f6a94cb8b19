"""What tests share: made-up data, tiny models, videos, plain restatements."""
