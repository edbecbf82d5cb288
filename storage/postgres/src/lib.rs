//! Sans-IO PostgreSQL client, pools, query builder.
