//! Sans-IO HTTP/1.1 and the route table.
