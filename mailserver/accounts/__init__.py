"""Who somebody is: passwords, checkers and the portal of twisted.cred."""
