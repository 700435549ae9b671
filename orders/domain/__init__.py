"""The domain: rules and facts of orders, without Django, MongoDB or HTTP."""
