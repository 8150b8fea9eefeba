"""The router's own scheduling and flow code over a modelled fleet, in virtual time (``headrace simulate``)."""
