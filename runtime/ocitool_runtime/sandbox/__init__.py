"""What runs inside a sandbox: the shim, the container init and all that they import.

The standard library alone, and of that what `python -I -S` finds: there are no site-packages in
the process, and after the pivot nothing more can be imported.
"""
