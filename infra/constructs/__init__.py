"""One construct per kind of thing. Stacks only wire them."""
