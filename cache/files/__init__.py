"""Safe writing of files despite kills, full disks and other processes: atomic writes, locks, signals.

Deals with folders and bytes only, not with what the project stores in them.
"""
