"""The configuration: a frozen, typed value (``model``) and how it comes about (``loader``)."""
