"""What every network here is made of: layers, losses, transformer, precision, devices.

Nothing that knows a host, a branch of the method or a file.
"""
