"""What is unsafe about a deployment, or will not work: each check in a file of its own."""
