"""What a pump has to tell Python, in a bounded line. Nothing of it is for Python to call."""
