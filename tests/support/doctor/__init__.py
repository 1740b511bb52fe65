"""An installation without trouble, for the tests of the doctor, and listeners that follow a script."""
