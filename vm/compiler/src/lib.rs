//! Front ends: JavaScript/TypeScript to bytecode.
