"""What settings imply together: which are impossible, and the p-value that a window needs."""
