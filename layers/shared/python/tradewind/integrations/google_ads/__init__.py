"""Google Ads: reports by the REST search stream."""
