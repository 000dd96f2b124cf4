"""``make doctor``: whether a stage has what it needs, from the installation to the migrations. It changes nothing."""
