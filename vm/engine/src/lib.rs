//! Values, arena heap, interpreter, intrinsics, fibers, tasks.
