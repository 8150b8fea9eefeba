"""Going on with a stream whose worker was lost: what was sent, what is left to ask for, and the seam between both."""
