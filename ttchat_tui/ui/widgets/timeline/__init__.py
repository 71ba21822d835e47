"""The timeline: where the time of a reply went, as bars and figures."""
