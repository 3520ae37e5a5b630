"""Does a model fit, on what, what will it do, and what does it cost: before there is a cluster."""
