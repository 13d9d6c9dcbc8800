"""Chapter 5: the mean-field limit, weight decay and global convergence."""
