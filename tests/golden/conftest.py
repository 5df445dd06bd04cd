# Needs TensorFlow, which tests do not.
collect_ignore = ["record.py"]
