"""Cache-aside with a version in every key. Knows nothing of users, bookings, SQL or HTTP."""
