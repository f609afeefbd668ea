"""The same music twice: what two prints share, and which of many share something."""
