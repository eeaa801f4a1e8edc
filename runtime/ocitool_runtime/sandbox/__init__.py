"""What runs inside a sandbox: the shim, the container init and all that they import.

Each module says in which of these processes it runs; a few serve the host process, too.

The standard library alone, and of that what `python -I -S` finds: there are no site-packages in
the process, and after the pivot nothing more can be imported.
"""
