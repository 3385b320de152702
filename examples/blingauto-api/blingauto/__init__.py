"""Blingauto's bookings API: the reference for a service with a versioned cache."""
