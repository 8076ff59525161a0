"""NBD: fixed newstyle exports, as NBD's proto.md has them."""
