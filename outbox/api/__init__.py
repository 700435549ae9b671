"""Parts of an HTTP API over aggregates, on Django REST framework. Nothing else needs these."""
