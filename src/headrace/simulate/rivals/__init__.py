"""Placement rules of other routers, written anew from what they publish, one a file."""
