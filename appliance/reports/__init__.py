"""What the appliance says of itself and its machines: the API, its reports, the tables made of them, and metrics."""
