"""Back-propagation: every formula of the slides against independently computed derivatives."""
