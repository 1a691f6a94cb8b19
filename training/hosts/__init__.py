"""Host methods of weakly-supervised localization: each a network with its own losses, behind `host.Host`."""
