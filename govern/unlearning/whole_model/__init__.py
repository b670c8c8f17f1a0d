"""Methods that train or measure the model through its output: one loop, a file for each method's own mathematics."""
