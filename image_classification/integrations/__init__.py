"""This library's networks in other Paddle toolkits. Each module needs the toolkit that it is named after."""
