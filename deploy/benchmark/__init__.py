"""The benchmark: the appliance and the servers people use today, side by side on one core each."""
