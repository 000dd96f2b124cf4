"""Google Ads' REST API and its token endpoint, as the sandbox plays them."""
