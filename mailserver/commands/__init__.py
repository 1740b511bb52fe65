"""What each command of an administrator does, in a running server or, under its data's lock, without."""
