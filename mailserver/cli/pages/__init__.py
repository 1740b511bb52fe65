"""The manual pages, made from the commands and from the keys of the configuration."""
