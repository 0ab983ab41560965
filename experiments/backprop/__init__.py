"""Back-propagation: every formula of the slides against derivatives taken in another way."""
