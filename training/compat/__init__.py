"""What public code of the hosts does differently, defects included, so that its published figures can be repeated.

Hosts and localization read clean; each departure stands here with its reason.
"""
