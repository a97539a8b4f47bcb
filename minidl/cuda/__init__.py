"""A .cu file from its text to a result: read, compiled, launched, looked over the shoulder."""
