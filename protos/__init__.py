"""The contract: what crosses a process boundary, and nothing else.

`messages` are the plain dataclasses that every part of the system speaks,
`hashing` the one definition of a block's name, `registry` the contract of the
prefix registry. The `.proto` files carry the messages over gRPC; `convert` is
the only module that sees both forms. `*_pb2*` modules are generated
(`make protos`) and checked in.
"""
