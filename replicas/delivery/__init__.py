"""How a model comes from an object store or a server into a folder of this machine."""
