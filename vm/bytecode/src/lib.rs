//! One opcode table; module format; verifier; disassembler.
