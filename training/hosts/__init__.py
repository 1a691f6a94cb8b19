"""Host methods of weakly-supervised localization: each a network with its own losses, behind `host.Host`.

One file a host, beside what they share. KSM, CSR and the head are no hosts: see `model/`.
"""
