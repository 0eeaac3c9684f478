"""The library's networks in other programs of the Paddle world. Each module needs the program that it is called after."""
