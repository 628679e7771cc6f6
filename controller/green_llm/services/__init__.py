"""The data path: from what users ask for to the weights in force. Sees ports, never adapters."""
