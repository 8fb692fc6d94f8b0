"""``shim scan PATH…``: find the names in Python sources that the installed torch lacks, and say what gives them back.

``uses`` reads which names a source uses, ``facts`` knows which releases have a name, and ``command`` reads the files
and prints the report. The sources are parsed, never run.
"""
