"""Code that runs only inside a deployment to AWS."""
