"""``mailserver doctor``: looks for trouble in an installation, and says how to mend it.

``kinds`` has all kinds of findings, ``findings`` the values, ``installation`` what is examined, and
``runner`` runs the checks. Each other module has the checks of one subject. Nothing here changes anything.
"""
